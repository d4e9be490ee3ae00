"""What is asked of a network: input sets, properties, queries, data."""
