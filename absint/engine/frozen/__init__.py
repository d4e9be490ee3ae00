"""Networks whose bounds stay as they were at the root of a search, under case splits of single entries."""
