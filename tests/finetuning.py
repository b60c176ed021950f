"""What the tests of fine-tuning from the chat share."""

import sys
from pathlib import Path

import pytest

from vlmchat.finetune import process

_FAKE = Path(__file__).with_name("fake_trainer.py")


def trainer(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Have jobs trained by the fake trainer, with these arguments."""
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(_FAKE), *arguments))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
