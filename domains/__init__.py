"""Built-in abstract domains. They reach the engine through the entry points of the group `absint.domains`."""
