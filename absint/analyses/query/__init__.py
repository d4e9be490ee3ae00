"""Answers to VNN-LIB queries."""

from absint.analyses.query.answering import Answer, Assignment, QueryResult, verify_query

__all__ = [
    "Answer", "Assignment", "QueryResult", "verify_query",
]
