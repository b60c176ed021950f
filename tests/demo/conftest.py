"""What the tests of the demo share."""

from tests.fixtures_demo import demo_home, demo_making
from tests.small_disk import small_disk

__all__ = ["demo_home", "demo_making", "small_disk"]
