"""Fixtures for the tests of fine-tuning."""

from tests.small_disk import small_disk

__all__ = ["small_disk"]
