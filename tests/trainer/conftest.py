"""Fixtures for the tests of the trainer."""

import pytest
import torch

from tests.small_disk import small_disk

__all__ = ["small_disk"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The same sums in the same order, whatever else the machine does."""
    torch.set_num_threads(1)
