"""A person's first try, on a machine with no model and no Hub: the demo model really answers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess
from tests.terminal import Terminal
from vlmchat.chat.openai import data_url

pytestmark = [pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that keeps the demo model for all tests of this file."""
    return tmp_path_factory.mktemp("first-try")


def run(home: Path, *arguments: object) -> str:
    """Run ``vlmchat`` with the Hub out of reach and return its standard output."""
    environment = {
        **os.environ,
        "VLMCHAT_HOME": str(home),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_CACHE": str(home / "hub"),
    }
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-m", "vlmchat.cli.main", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_questions_about_every_sample_are_answered_rightly(home: Path, tmp_path: Path) -> None:
    from vlmchat.demo.pictures import ALL

    run(home, "demo-pictures", tmp_path / "pictures")
    assert run(home, "ask", "What is the capital of France?") == "The capital of France is Paris.\n"
    first = tmp_path / "pictures" / ALL[0].name
    assert run(home, "ask", "-a", first, ALL[0].question) == ALL[0].answer + "\n"
    shutil.copytree(home / "cache", tmp_path / "home" / "cache")
    with EngineProcess("demo", tmp_path) as engine:
        engine.wait_ready()
        for sample in ALL:
            url = data_url("image/png", (tmp_path / "pictures" / sample.name).read_bytes())
            question = [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": sample.question},
            ]
            body = engine.chat(question, max_tokens=40).json()
            assert body["choices"][0]["message"]["content"] == sample.answer


def test_the_chat_says_what_it_is_and_answers(home: Path, tmp_path: Path) -> None:
    run(home, "demo-pictures", tmp_path / "pictures")
    with Terminal("--attach", tmp_path / "pictures" / "cat.png", home=home) as terminal:
        terminal.wait("cat.png", 20)
        terminal.send_line("What is in the picture?")
        terminal.wait("Hub does not answer", 120)
        screen = terminal.wait("The picture shows a cat.", 60)
        assert "Demo model" in screen
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0
