"""Every command of the registry says something sensible in plain mode."""

from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, running
from tests.plain.piping import piped
from vlmchat.talk.commands.base import Command
from vlmchat.talk.commands.registry import COMMANDS

pytestmark = pytest.mark.slow

_ARGUMENTS = {
    "rename": "A title",
    "system": "Be brief.",
    "search": "hello",
    "find": "hello",
    "import": "none.json",
    "copy-code": "",
    "better": "1",
}
_MARK = "You: /mark\n"


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what was written for each command: all of them in one conversation, in order."""
    folder = tmp_path_factory.mktemp("commands")
    lines: list[str] = []
    ordered = [command for command in COMMANDS if command.name != "quit"]
    for command in ordered:
        argument = _ARGUMENTS.get(command.name, "")
        # An empty line is the answer to whatever the command asks.
        lines += ["hello", "/regenerate", f"/{command.name} {argument}".strip(), "", "/mark"]
    with running(FakeEngine()) as fake, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        home = str(folder / "home")
        text = "\n".join([*lines, "/quit", ""])
        environment = {"VLMCHAT_HOME": home, "PYTHONPROFILEIMPORTTIME": "1"}
        done = piped(text, "--plain", "--engine-url", fake.url, **environment)
    assert done.returncode == 0, done.stdout
    # Each line of standard error names a module that was imported.
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vlmchat.plain.run" in imported
    assert not {"textual", "torch", "transformers"} & imported
    found: dict[str, str] = {}
    rest = done.stdout
    for command in ordered:
        line = f"You: /{command.name} {_ARGUMENTS.get(command.name, '')}".rstrip()
        _, asked, rest = rest.partition(f"{line}\n")
        assert asked, (command.name, done.stdout[-3000:])
        found[command.name], _, rest = rest.partition(_MARK)
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_answers(command: Command, transcript: dict[str, str]) -> None:
    if command.name == "quit":
        return
    said = transcript[command.name]
    assert said.strip()
    assert "unforeseen" not in said


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("help", "/describe [WHAT TO LOOK AT], /d:"),
        ("keys", "belong to the screen"),
        ("settings", "ui.plain_flush: sentence (default)"),
        ("parameters", "temperature: the engine's default (/set temperature)"),
        ("chats", "Number to open, or Enter for none:"),
        ("tree", "version 2 of 2, on the path"),
        ("compare", "(version 2 of 2): Hello there."),
        ("model", "1. fake-vlm"),
        ("theme", "no colours"),
        ("attach", "Path of a picture or video, or Enter for none:"),
        ("frames", "No video is attached"),
        ("editor", "needs a terminal"),
        ("history", "hello"),
        ("fork", "This is a fork"),
        ("copy", "stands above"),
        ("log", "runs elsewhere"),
        ("info", "answer tokens: 2"),
        ("new", "This is a new conversation."),
    ],
)
def test_some_answers(name: str, expected: str, transcript: dict[str, str]) -> None:
    assert expected in transcript[name]
