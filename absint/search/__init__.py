"""How a verdict is looked for: strategies, what bounds and what branches."""
