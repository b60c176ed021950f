"""The adapters a person has: PEFT folders, each with what it was made of in ``vlmchat.toml``.

A folder without that file (copied there by hand) is listed too, with what its own configuration
says.
"""

import contextlib
import hashlib
import json
import secrets
import shutil
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vlmchat import paths
from vlmchat.chat.formats.values import short
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.finetune.events import Ended, Event, Step, Validation, valid
from vlmchat.finetune.files import JobError, safe_name, take_name, told, write_whole
from vlmchat.finetune.job import BaseModelRef, Job
from vlmchat.finetune.settings import RunSettings, from_table, to_table
from vlmchat.models.adapter import CONFIG, SHELF, WEIGHTS, check_adapter

CARD = "vlmchat.toml"
VERSION = 1
# Of the hash of the weights, in what a reply says of its adapter (``name@hash``).
DIGITS = 12


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """What an adapter was made of.

    Attributes:
        base: the model it is laid over.
        settings: how it was made; ``None`` if it was made elsewhere.
        data_hash: of the examples (`vlmchat.finetune.canonical.data_hash`).
        rows: that it was trained on.
        job: id of the job that made it.
        reason: how that ended.
        step: whose weights these are.
        loss: training loss at the end.
        validation_loss: of these weights.
        sha256: of the weights' file.
        created: seconds since 1970.
        evaluation: what was measured later, by name (exact match, wins of base and adapter …).
    """

    base: BaseModelRef
    settings: RunSettings | None = None
    data_hash: str = ""
    rows: int = 0
    job: str = ""
    reason: str = ""
    step: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    sha256: str = ""
    created: float = field(default_factory=time.time)
    evaluation: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter on the shelf: its `name`, its `folder` for the engine, and its `card`."""

    name: str
    folder: Path
    card: AdapterCard

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


def adapters_dir() -> Path:
    """Return the folder of all adapters, created if missing."""
    folder = paths.data_dir() / SHELF
    with told(f"The folder {folder} cannot be made"):
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def list_adapters() -> list[Adapter]:
    """Return the adapters, the newest first; folders that are none are passed over."""
    found: list[Adapter] = []
    for item in adapters_dir().iterdir():
        if not item.name.startswith(".") and (item / CONFIG).is_file():
            with contextlib.suppress(VlmchatError):
                found.append(_read(item))
    return sorted(found, key=lambda one: one.card.created, reverse=True)


def open_adapter(name: str) -> Adapter:
    """Return the adapter of that name.

    Raises:
        UsageError: there is none.
        JobError: its card is damaged.
    """
    folder = adapters_dir() / name
    if Path(name).name != name or name.startswith(".") or not (folder / CONFIG).is_file():
        there = ", ".join(one.name for one in list_adapters()) or "none yet"
        raise UsageError(f"There is no adapter “{short(name)}”: there are {short(there)}.")
    return _read(folder)


def read_folder(folder: Path) -> Adapter:
    """Return what an adapter's folder says of itself, wherever it lies.

    Raises:
        JobError: its card or its configuration is damaged.
    """
    return _read(folder)


def digest_of(adapter: Adapter) -> str:
    """Return the hash of an adapter's weights as replies give it; blocking, empty if unreadable."""
    try:
        return (adapter.card.sha256 or _hash(adapter.folder / WEIGHTS))[:DIGITS]
    except OSError:
        return ""


def with_digest(digest: str) -> Adapter | None:
    """Return the adapter whose weights have this hash, as replies give it; blocking."""
    return next((one for one in list_adapters() if digest and digest_of(one) == digest), None)


def adopt(job: Job, name: str = "") -> Adapter:
    """Copy a job's adapter to the shelf; blocking.

    Args:
        job: whose trainer has ended and left an adapter.
        name: what it shall be called; by default as the job.

    Raises:
        UsageError: the job is still running, or the name says nothing.
        ModelError: the job's adapter is missing or damaged.
        JobError: the disk is full, or the folder not writable.
    """
    if job.alive():
        raise UsageError(f"The job “{short(job.id)}” is still running: wait, or stop it.")
    check_adapter(job.adapter)
    spec = job.spec()
    wanted = safe_name(name or spec.name)
    with told(f"The adapter “{short(wanted)}” cannot be put on the shelf"):
        events = list(valid(job.events().new()))
        card = AdapterCard(
            spec.base,
            spec.settings,
            spec.data_hash,
            spec.rows,
            job.id,
            sha256=_hash(job.adapter / WEIGHTS),
            **_told_by(events),
        )
        folder = _put(job.adapter, adapters_dir(), wanted, card)
    return Adapter(folder.name, folder, card)


def _told_by(events: list[Event]) -> dict[str, Any]:
    """Return what a run's events say of the adapter that it left."""
    steps = [one for one in events if isinstance(one, Step)]
    ended = next((one for one in reversed(events) if isinstance(one, Ended)), None)
    measured = [one for one in events if isinstance(one, Validation) and one.loss is not None]
    step = ended.best_step or ended.step if ended else steps[-1].step if steps else None
    at = [one.loss for one in measured if one.step == step]
    return {
        "reason": ended.reason if ended else "",
        "step": step,
        "loss": steps[-1].loss if steps else None,
        "validation_loss": ended.loss if ended and ended.loss is not None else (at or [None])[-1],
    }


def rename(name: str, new: str) -> Adapter:
    """Give an adapter another name.

    Raises:
        UsageError: there is none, or the new name is taken or says nothing.
        JobError: it cannot be renamed.
    """
    adapter = open_adapter(name)
    wanted = safe_name(new)
    target = adapters_dir() / wanted
    if target.exists():
        raise UsageError(f"There is an adapter “{short(wanted)}” already: choose another name.")
    with told(f"The adapter “{short(name)}” cannot be renamed"):
        adapter.folder.rename(target)
    return replace(adapter, name=wanted, folder=target)


def delete(name: str) -> None:
    """Remove an adapter.

    Raises:
        UsageError: there is none.
        JobError: it cannot be removed.
    """
    folder = open_adapter(name).folder
    with told(f"The adapter “{short(name)}” cannot be removed"):
        gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        folder.rename(gone)
        shutil.rmtree(gone)


def note_evaluation(name: str, values: Mapping[str, float | str]) -> Adapter:
    """Write down what was measured of an adapter, beside what is there.

    Raises:
        UsageError: there is none.
        JobError: it cannot be written.
    """
    adapter = open_adapter(name)
    card = replace(adapter.card, evaluation={**adapter.card.evaluation, **values})
    with told(f"The card of “{short(name)}” cannot be written"):
        write_whole(adapter.folder / CARD, _toml(card).encode())
    return replace(adapter, card=card)


def export(name: str, target: Path) -> Path:
    """Copy an adapter to a new folder, which PEFT, transformers and vLLM load as it is.

    Raises:
        UsageError: there is none, or something is at `target` already.
        JobError: it cannot be written.
    """
    adapter = open_adapter(name)
    if target.exists():
        raise UsageError(f"“{short(target)}” exists already: choose another name.")
    with told(f"The adapter cannot be copied to {short(target)}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        return _put(adapter.folder, target.parent, target.name, adapter.card)


def _put(source: Path, folder: Path, name: str, card: AdapterCard) -> Path:
    """Copy an adapter into `folder` with its card: whole or not at all."""
    temporary = folder / f".{name}.{secrets.token_hex(6)}.part"
    try:
        shutil.copytree(source, temporary)
        write_whole(temporary / CARD, _toml(card).encode())
        return take_name(temporary, folder, name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# The card --------------------------------------------------------------------------------------


def _toml(card: AdapterCard) -> str:
    import tomlkit

    names = ("data_hash", "rows", "job", "reason", "step", "loss", "validation_loss", "sha256")
    value: dict[str, Any] = {"version": VERSION, "created": card.created}
    for name in names:
        if (found := getattr(card, name)) is not None:
            value[name] = found
    value["base"] = asdict(card.base)
    if card.settings is not None:
        value["settings"] = to_table(card.settings)
    value["evaluation"] = dict(card.evaluation)
    return tomlkit.dumps(value)


def _read(folder: Path) -> Adapter:
    path = folder / CARD
    if not path.is_file():
        return Adapter(folder.name, folder, _of_peft(folder))
    try:
        value = tomllib.loads(path.read_text("utf-8"))
        settings = value.pop("settings", None)
        base = BaseModelRef(**value.pop("base"))
        if value.pop("version") > VERSION:
            raise ValueError("it was written by a newer vlmchat")
        chosen = None if settings is None else from_table(settings)
        card = AdapterCard(base, chosen, **value)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise JobError(f"“{short(path)}” is damaged ({short(error)}).") from error
    return Adapter(folder.name, folder, card)


def _of_peft(folder: Path) -> AdapterCard:
    """Return what PEFT's own configuration says of an adapter made elsewhere."""
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        created = folder.stat().st_mtime
    except (OSError, ValueError) as error:
        raise JobError(f"“{short(folder / CONFIG)}” cannot be read ({short(error)}).") from error
    values = config if isinstance(config, dict) else {}
    name, revision = values.get("base_model_name_or_path"), values.get("revision")
    base = BaseModelRef(
        name if isinstance(name, str) else "", revision if isinstance(revision, str) else "", ""
    )
    return AdapterCard(base, created=created)
