"""What was said: the tree of turns, and what is told about one of them."""
