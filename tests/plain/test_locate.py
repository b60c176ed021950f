"""/locate in plain lines."""

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
    lines = [f"/locate {folder} A red circle.", "/locate", "2", "/locate nowhere x", "/quit"]
    where = ["--engine-url", engine.url, "--api-key", TOKEN]
    said = piped("\n".join([*lines, ""]), "--plain", *where).stdout
    assert "“A red circle.”: the best of 3 is " in said, said
    assert "3 files, the best first." in said and f"2. {folder}/" in said
    assert "With the next question goes: " in said
    assert "Error: “nowhere” is no folder." in said
