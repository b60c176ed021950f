"""The compiled decode step, made once for all tests and all their processes."""

from collections.abc import Callable

import pytest
from filelock import FileLock

from vlmchat.engine.native.building import VARIANTS, Build
from vlmchat.engine.native.library import Library

Compiled = Callable[[str], Library]
EACH_VARIANT = [
    pytest.param(name, marks=[] if name == next(iter(VARIANTS)) else pytest.mark.slow)
    for name in VARIANTS
]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Compiled:
    """Return a function that gives the library for a variant, or for the best one."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "native"

    def make(variant: str = "") -> Library:
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "lock"):
            found = Build(variant, folder=folder).make()
        if found.library is None:
            pytest.skip(found.reason)
        return found.library

    return make
