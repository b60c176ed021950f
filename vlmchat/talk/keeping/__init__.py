"""Conversations on their way to the store and back."""
