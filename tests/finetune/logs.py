"""Log files for tests of fine-tuning."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlmchat.finetune.examples import Dropped, Example
from vlmchat.finetune.reading import ExampleReader, ReadOptions


def write_log(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read(path: Path, options: ReadOptions | None = None) -> tuple[list[Example], list[Dropped]]:
    """Return what is in a log, examples and dropped rows apart."""
    with ExampleReader(options) as reader:
        found = list(reader.read(path))
    examples = [item for item in found if isinstance(item, Example)]
    return examples, [item for item in found if isinstance(item, Dropped)]


def asked(text: str, answer: str, *pictures: str) -> dict[str, Any]:
    """Return a row in the chat format of the course."""
    parts: list[dict[str, str]] = [{"type": "image", "path": one} for one in pictures]
    return {
        "messages": [
            {"role": "user", "content": [*parts, {"type": "text", "text": text}]},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
    }
