"""Answers to VNN-LIB queries."""

from absint.analyses.query.answering import Assignment, QueryAnswer, QueryResult, verify_query

__all__ = [
    "Assignment", "QueryAnswer", "QueryResult", "verify_query",
]
