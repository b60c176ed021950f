"""Conversations on disk: SQLite for what was said, files named by their hash for media."""
