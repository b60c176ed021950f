"""Which models there are, where their files lie, and how they come to this machine. No torch."""
