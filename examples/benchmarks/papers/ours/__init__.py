"""A search for a method of our own: greedy paths with other moves and other credit. The plan is docs/own-method.md."""
