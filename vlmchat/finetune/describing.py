"""What a person is told about an adapter, in a line, in full, and for scripts."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from vlmchat.finetune.settings import to_table
from vlmchat.finetune.shelf import Adapter, digest_of
from vlmchat.models.adapter import CONFIG
from vlmchat.text import human_bytes, visible_line

_KINDS = {"lora": "LoRA", "dora": "DoRA", "rslora": "rsLoRA", "prompt": "prompt"}
_SHOWN_DIGITS = 12


def kind(adapter: Adapter) -> str:
    """Return how it was learned and what it is (``SFT LoRA 16``); blocking."""
    settings = adapter.card.settings
    if settings is not None:
        size = settings.virtual_tokens if settings.adapter == "prompt" else settings.rank
        return f"{settings.method.upper()} {_KINDS[settings.adapter]} {size}"
    return _kind_in_config(adapter)


def _kind_in_config(adapter: Adapter) -> str:
    """Return what PEFT's configuration says of an adapter that was made elsewhere."""
    try:
        config = json.loads((adapter.folder / CONFIG).read_text("utf-8"))
        named = str(config.get("peft_type") or "")
    except (OSError, ValueError, AttributeError):
        return ""
    if named == "PROMPT_TUNING":
        return f"prompt {config.get('num_virtual_tokens', '')}".strip()
    if named != "LORA":
        return visible_line(named)
    name = "DoRA" if config.get("use_dora") else "rsLoRA" if config.get("use_rslora") else "LoRA"
    return f"{name} {config.get('r', '')}".strip()


def base(adapter: Adapter) -> str:
    """Return the short name of the model that it was made for."""
    name = adapter.card.base.id
    return visible_line(name.rstrip("/\\").replace("\\", "/").rpartition("/")[2]) or "unknown"


def day(adapter: Adapter) -> str:
    """Return the day it was made on."""
    return f"{datetime.fromtimestamp(adapter.card.created).astimezone():%Y-%m-%d}"


def loss(adapter: Adapter) -> str:
    """Return its validation loss, or that of training in brackets; empty where nothing is known."""
    card = adapter.card
    if card.validation_loss is not None:
        return f"{card.validation_loss:.3g}"
    return "" if card.loss is None else f"({card.loss:.3g})"


def line(adapter: Adapter) -> str:
    """Return what tells it from the others, for a list of names; blocking."""
    rows = f"{adapter.card.rows} rows" if adapter.card.rows else ""
    return ", ".join(filter(None, (base(adapter), kind(adapter), rows, day(adapter))))


def is_on(adapter: Adapter, named: str) -> bool:
    """Return whether it is what an engine names as ``name@hash``; blocking."""
    name, _, digest = named.rpartition("@")
    return bool(named) and name == adapter.name and digest == digest_of(adapter)


def facts(adapter: Adapter) -> Iterator[tuple[str, str]]:
    """Yield name and value of everything that is known about it; blocking."""
    card = adapter.card
    when = datetime.fromtimestamp(card.created).astimezone()
    yield "base", visible_line(card.base.id) or "unknown"
    if card.base.revision:
        yield "revision", visible_line(card.base.revision)
    yield "kind", kind(adapter) or "unknown"
    if card.rows:
        yield "rows", str(card.rows)
    for title, number in (("loss", card.loss), ("validation loss", card.validation_loss)):
        if number is not None:
            yield title, f"{number:.4g}"
    for title, measured in card.evaluation.items():
        shown = f"{measured:.4g}" if isinstance(measured, float) else str(measured)
        yield visible_line(title), visible_line(shown)
    yield "size", human_bytes(adapter.size)
    yield "made", f"{when:%Y-%m-%d %H:%M}"
    if card.reason:
        step = "" if card.step is None else f" with the weights of step {card.step}"
        yield "ended", f"{visible_line(card.reason)}{step}"
    if card.job:
        yield "job", visible_line(card.job)
    if card.data_hash:
        yield "data", card.data_hash[:_SHOWN_DIGITS]
    yield "weights", digest_of(adapter)
    if card.settings is not None:
        rate, epochs = card.settings.rate, card.settings.epochs
        yield "settings", f"learning rate {rate:g}, epochs {epochs:g}, seed {card.settings.seed}"
    yield "folder", visible_line(str(adapter.folder))


def as_json(adapter: Adapter) -> dict[str, Any]:
    """Return all of it as plain values; blocking."""
    card = adapter.card
    return {
        "name": adapter.name,
        "folder": str(adapter.folder),
        "base": {"id": card.base.id, "revision": card.base.revision, "folder": card.base.folder},
        "kind": kind(adapter),
        "settings": None if card.settings is None else to_table(card.settings),
        "rows": card.rows,
        "data_hash": card.data_hash,
        "job": card.job,
        "reason": card.reason,
        "step": card.step,
        "loss": card.loss,
        "validation_loss": card.validation_loss,
        "evaluation": dict(card.evaluation),
        "sha256": card.sha256,
        "digest": digest_of(adapter),
        "size": adapter.size,
        "created": card.created,
    }
