"""CLEVER scores: an estimate of the distance to the nearest input of another class, never a certificate."""
