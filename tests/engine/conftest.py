"""The compiled step is there before the first engine within a test process."""

import pytest

from vlmchat.engine.native.building import Build


@pytest.fixture(scope="session", autouse=True)
def _compiled_before(_compiled_once: None) -> None:
    """Compile the step now rather than behind the tests.

    Engines that wait for it read their models anew when it is there, with the library's global
    settings changed meanwhile: in a later test, which has nothing to do with them.
    """
    Build().make()
