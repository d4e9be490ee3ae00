"""What decides the order of bounders, branching and limits; one file a strategy."""
