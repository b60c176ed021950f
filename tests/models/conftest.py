"""What the tests of models share."""

from tests.small_disk import small_disk

__all__ = ["small_disk"]
