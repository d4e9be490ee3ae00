"""What runs, reports and analyses agree on: options, records, documents, and the abstract class of an analysis.

Nothing here imports torch, so that `--help` answers at once.
"""
