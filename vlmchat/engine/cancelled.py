"""The one thing that may end an answer from outside."""


class CancelledError(Exception):
    """The one who asked went away."""
