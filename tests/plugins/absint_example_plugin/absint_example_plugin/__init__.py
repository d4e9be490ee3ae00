"""An example plug-in package for absint."""
