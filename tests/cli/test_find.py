"""``vlmchat find`` as a shell runs it."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import retrieval
from tests.cli.test_ask import COMMAND, refused, run
from tests.embedders import cached_embedder
from tests.engine_process import TOKEN, EngineProcess
from tests.films import film_file
from tests.pictures import saved
from tests.terminal import Terminal
from vlmchat.client.api import EngineClient
from vlmchat.retrieve.index import HIDDEN_NAME
from vlmchat.retrieve.ranking import Asker

COLOURS = ("red", "green", "blue", "gold")


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    """Return a folder of four pictures, one of them deeper, and a broken one."""
    folder = tmp_path / "pics"
    (folder / "more").mkdir(parents=True)
    for colour in COLOURS[:-1]:
        saved(folder / f"{colour}.png", colour=colour)
    saved(folder / "more" / "gold.png", colour="gold")
    (folder / "broken.jpg").write_text("no picture")
    return folder


def features(folder: Path) -> dict[str, int]:
    """Return the kept features' files, and when they were written."""
    kept = folder / HIDDEN_NAME / "features"
    return {path.name: path.stat().st_ctime_ns for path in kept.glob("*.safetensors")}


def found(*arguments: object) -> dict[str, Any]:
    done = run("find", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def test_with_an_engine_elsewhere(engine: EngineProcess, pics: Path) -> None:
    at = ["--engine-url", engine.url, "--api-key", TOKEN]
    value = found("A red circle.", pics, *at, "--top", 2)
    assert [row["rank"] for row in value["results"]] == [1, 2] and value["seen"] == 3
    assert value["results"][0]["score"] >= value["results"][1]["score"]
    assert [Path(row["file"]).name for row in value["skipped"]] == ["broken.jpg"]
    assert not (pics / HIDDEN_NAME).exists()  # that engine keeps nothing here


def test_what_is_refused(pics: Path) -> None:
    assert "a folder are needed" in refused(2, "find", "A red circle.")
    assert "one file of sentences" in refused(2, "find", "-i", pics / "red.png", "x", pics)
    said = refused(3, "find", "A star.", pics, "--first-stage", "no/such", "--no-index")
    assert "“no/such” is not in the Hub's cache" in said


@pytest.mark.slow
def test_the_index_follows_the_folder(tiny_model: Path, pics: Path) -> None:
    film = pics / "more" / "film.mp4"
    film.write_bytes(film_file().read_bytes())
    options = ["--model", tiny_model, "--recursive"]
    first = found("A red circle.", pics, *options)
    names = {Path(row["file"]).name for row in first["results"]}
    assert names == {"red.png", "green.png", "blue.png", "gold.png", "film.mp4"}
    before = features(pics)
    assert len(before) > 5  # a film is several pictures
    (pics / "red.png").unlink()
    saved(pics / "green.png", colour="black")
    film.unlink()
    # The folder below is not searched this time, and what is known of it stays.
    second = found("A red circle.", pics, "--model", tiny_model)
    after = features(pics)
    assert second["seen"] == 2 and len(after) == 3
    assert len(after.keys() & before.keys()) == 2
    assert {row["file"] for row in second["results"]} == {
        str(pics / f"{name}.png") for name in ("green", "blue")
    }


@pytest.mark.slow
def test_sentences_and_the_first_stage(tiny_model: Path, pics: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("A red circle.\nA star.\n\nA star.\n")
    done = run("find", "--image", pics / "red.png", captions, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert {line[2] for line in lines} == {"A red circle.", "A star."}
    assert float(lines[0][1]) >= float(lines[1][1]) and not (pics / HIDDEN_NAME).exists()
    name = cached_embedder(tmp_path / "hub", "siglip")
    options = ["--model", tiny_model, "--recursive", "--first-stage", name]
    value = found("A red circle.", pics, *options, "--keep", 2, "--top", 2)
    assert value["seen"] == 2 and len(value["skipped"]) == 1
    # Four places, and the features of the two that were looked at closely.
    assert len(features(pics)) == 6


@pytest.mark.slow
def test_interrupted(slow_model: Path, tmp_path: Path) -> None:
    for index in range(60):
        saved(tmp_path / "pics" / f"{index}.png" if index else _made(tmp_path), 64, 48 + index)
    asked = [*COMMAND, "find", "A circle.", str(tmp_path / "pics"), "--model", str(slow_model)]
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not features(tmp_path / "pics") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=20)
    assert (process.returncode, out, said) == (130, b"", b"")
    kept = json.loads((tmp_path / "pics" / HIDDEN_NAME / "index.json").read_text())
    assert 0 < len(features(tmp_path / "pics")) <= len(kept["files"]) < 60


def _made(folder: Path) -> Path:
    (folder / "pics").mkdir()
    return folder / "pics" / "0.png"


@pytest.mark.slow
def test_small_pictures_in_a_terminal(engine: EngineProcess, pics: Path) -> None:
    at = ["--engine-url", engine.url, "--api-key", TOKEN]
    asked = ["find", "A red circle.", pics, "--top", 1, *at]
    with Terminal(*asked, home=pics.parent / "home") as terminal:
        assert terminal.wait_exit(60) == 0
        screen = terminal.text
    assert "▀▀▀" in screen and "1.  " in screen and ".png" in screen


async def test_the_benchmark(engine: EngineProcess, tmp_path: Path) -> None:
    """What `benchmarks/retrieval.py` measures, with a model that knows nothing."""
    captions = retrieval.drawn(tmp_path / "pictures", 4, 0.0)
    assert len(set(captions)) == 4
    async with EngineClient(engine.url, TOKEN) as client:
        for _ in range(2):  # the second time it goes on, with nothing left to do
            await retrieval.scored(Asker(client), tmp_path, captions, 60)
    rows, usual = (retrieval.read(tmp_path, f"{name}.jsonl") for name in ("scores", "any"))
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == 6
    said = retrieval.report(rows, usual)
    assert "4 pictures, 4 captions" in said and said.count("chance") == 2
    assert " 25.0 %   100.0 %" in said


def test_recall() -> None:
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [1, 1, 1]])
    assert retrieval.Recall.of(scores, [0, 1, 2]).at_1 == pytest.approx(1 / 3)
    assert retrieval.Recall.of(scores, [0, 0, 0]).at_1 == pytest.approx(2 / 3)
