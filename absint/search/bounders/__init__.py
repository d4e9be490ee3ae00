"""What proves bounds by linear programs: disjuncts, neurons."""
