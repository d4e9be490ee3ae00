"""Report formats, one file each; `interface.py` says what a format offers."""
