"""The backward walk: rows of a node substituted through relaxations down to the input."""
