"""/batch in plain lines."""

from pathlib import Path

import pytest

from tests.engine_process import TOKEN, EngineProcess
from tests.pictures import saved
from tests.plain.piping import piped


@pytest.mark.slow
def test_it_is_told_in_sentences(engine: EngineProcess, tmp_path: Path) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    for colour in ("red", "green", "blue"):
        saved(folder / f"{colour}.png", colour=colour)
    lines = [f"/batch {folder} What is it?", "/batch", "/batch nowhere x", "/quit"]
    where = ["--engine-url", engine.url, "--api-key", TOKEN]
    said = piped("\n".join([*lines, ""]), "--plain", *where).stdout
    assert "Asking about 3 in pics" in said, said
    assert "All 3 in pics are answered: " in said
    assert "pics: 3 of 3 are answered." in said and "green.png" in said
    assert "nowhere” names no file" in said
