"""How often a classifier is right, and robust, on everything that a generator can draw: exact intervals, every counted proof a proof."""
