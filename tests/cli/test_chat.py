"""What the command line does before the chat opens."""

import os
import subprocess
import sys


def fps(**environment: str) -> str:
    code = (
        "from vlmchat.cli.chat import paint_at_once; paint_at_once(); "
        "from vlmchat.tui.app import ChatApp; from textual import constants; "
        "print(constants.MAX_FPS)"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "TEXTUAL_FPS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_keys_do_not_wait_for_the_next_paint_unless_the_person_says_so() -> None:
    assert fps() == "240"
    assert fps(TEXTUAL_FPS="30") == "30"
