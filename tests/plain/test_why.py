"""Where an answer looked, in plain lines."""

from pathlib import Path

import pytest

from tests.engine_process import TOKEN, EngineProcess
from tests.pictures import saved
from tests.plain.piping import piped


@pytest.mark.slow
def test_it_is_told_in_sentences(engine: EngineProcess, tmp_path: Path) -> None:
    photo = saved(tmp_path / "cat.png", 96, 64)
    lines = ["/set max_tokens 6", f"/attach {photo}", "What is it?", "/why", "/why zzz", "/quit"]
    where = ["--engine-url", engine.url, "--api-key", TOKEN]
    done = piped("\n".join([*lines, ""]), "--plain", *where)
    assert "Why: It looked mostly at the " in done.stdout, done.stdout
    assert "hiding that makes the answer" in done.stdout
    assert "Error: “zzz” is not in the answer" in done.stdout
