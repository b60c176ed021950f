"""``python -m vlmchat.engine.benching``: measure one side, and tell it on standard output.

Each side gets a process of its own, so that its peak of memory is its own, too. Rows of JSON: what
is being done (``text``), at the end ``result``, or ``error``.
"""

import argparse
import gc
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from vlmchat.chat.messages import Detail
from vlmchat.engine.__main__ import exit_with_parent
from vlmchat.engine.benching.agreement import agreement
from vlmchat.engine.benching.library import Library
from vlmchat.engine.benching.memory import peak_bytes
from vlmchat.engine.benching.ours import Ours, describe
from vlmchat.engine.loading import LoadedModel, LoadOptions
from vlmchat.engine.weights import load_weights
from vlmchat.errors import VlmchatError
from vlmchat.models.local import read_json

Say = Callable[[str], None]

_ONE_TILE = (512, 512)
_MANY_TILES = (2048, 1536)
_CONTEXTS = (100, 1200, 4000)
_READ = 1024  # tokens of the text whose reading is timed


def measured(side: Ours | Library, context: int, quick: bool, say: Say) -> dict[str, Any]:
    """Return the figures of one side.

    Args:
        side: what is measured.
        context: the most tokens its model takes.
        quick: fewer and smaller measurements.
        say: is told what is being done.
    """
    runs, decoded = (1, 16) if quick else (3, 48)
    pictures: list[tuple[tuple[int, int], Detail]] = [(_ONE_TILE, "low")]
    pictures += [] if quick else [(_MANY_TILES, "high")]
    say("a first answer, which is not counted")
    side.first_token(_ONE_TILE, "low", 1)
    row: dict[str, Any] = {"load_s": side.load_seconds}
    row |= {name: {} for name in ("encode_s_per_tile", "first_token_s", "follow_up_s")}
    for size, detail in pictures:
        say(f"a picture of {size[0]}×{size[1]} pixels")
        seconds, tiles = side.encode(size, detail, runs)
        row["encode_s_per_tile"][str(tiles)] = seconds
        row["first_token_s"][str(tiles)] = side.first_token(size, detail, runs)
        row["follow_up_s"][str(tiles)] = side.follow_up(size, detail, runs)
    read = min(_READ, context // 2)
    say(f"reading {read} tokens")
    row["prefill_tokens"], row["prefill_tokens_per_s"] = read, side.prefill(read, runs)
    row["decode_tokens_per_s"] = {}
    for behind in _CONTEXTS[: 2 if quick else None]:
        if behind + decoded + 8 > context:
            continue
        say(f"answering behind {behind} tokens")
        row["decode_tokens_per_s"][str(behind)] = side.decode(behind, decoded)
    row["peak_memory_bytes"] = peak_bytes()
    return row


def of_ours(options: LoadOptions, quick: bool, say: Say) -> dict[str, Any]:
    """Return the figures of this program's engine, and how far it agrees with the library."""
    with Ours(options, lambda step: say(step.text)) as side:
        row = {**describe(side.loaded), **measured(side, side.loaded.context, quick, say)}
        gc.collect()
        say("comparing it with the unquantized model")
        found = agreement(side.loaded, _reference(side.loaded), 2 if quick else 6)
        return {**row, "agreement": asdict(found)}


def _reference(loaded: LoadedModel) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return the model as the library runs it, in bfloat16 at least."""
    hardware = loaded.hardware
    if hardware.device == "cpu":
        hardware = replace(hardware, dtype=torch.bfloat16)
    config = read_json(loaded.folder.path / "config.json")
    return load_weights(loaded.folder, config, "none", hardware)


def of_library(options: LoadOptions, quick: bool, say: Say) -> dict[str, Any]:
    """Return the figures of transformers' ``generate``."""
    side = Library(options, lambda step: say(step.text))
    return measured(side, side.context, quick, say)


def parser() -> argparse.ArgumentParser:
    """Return the parser of this process's arguments."""
    result = argparse.ArgumentParser("python -m vlmchat.engine.benching", description=__doc__)
    result.add_argument("--side", choices=["ours", "library"], default="ours")
    result.add_argument("--model")
    result.add_argument("--quant", choices=["auto", "none", "8bit", "4bit"], default="auto")
    result.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    result.add_argument("--adapter", type=Path)
    result.add_argument("--threads", type=int, default=0)
    result.add_argument("--native", choices=["auto", "off"], default="auto")
    result.add_argument("--quick", action="store_true")
    return result


def main() -> int:
    """Measure; return the exit code."""
    given = parser().parse_args()
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print
    exit_with_parent()
    logging.getLogger("vlmchat").setLevel(logging.CRITICAL)  # errors are told below

    def tell(row: dict[str, Any]) -> None:
        print(json.dumps(row), file=lines, flush=True)

    options = LoadOptions(
        given.model, given.quant, given.device, given.adapter, given.threads, native=given.native
    )
    measure = of_ours if given.side == "ours" else of_library
    try:
        tell({"result": measure(options, given.quick, lambda text: tell({"text": text}))})
    except VlmchatError as error:
        tell({"error": str(error)})
        return 3
    except MemoryError:
        tell({"error": "The memory is not enough to measure this model."})
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
