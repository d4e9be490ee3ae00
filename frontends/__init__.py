"""Front ends: files to networks and data."""
