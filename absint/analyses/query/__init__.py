"""Answers to VNN-LIB queries, one or a list of them."""
