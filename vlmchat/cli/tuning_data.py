"""From logs to a plan, on the command line: what is read, asked, and refused."""

import contextlib
import importlib.metadata
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.cli.tuning_voices import Voice
    from vlmchat.finetune.estimate import Machine
    from vlmchat.finetune.preparing import Base, Plan, Preparation
    from vlmchat.finetune.report import DataReport
    from vlmchat.finetune.settings import RunSettings
    from vlmchat.models.progress import ProgressSink

_TELL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be learned from, and where.

    Attributes:
        files: logs.
        from_chats: the rated replies of all saved conversations.
        chats: the rated replies of these, by number or uid.
        every_reply: replies teach without being rated.
        outside: whether files outside a log's folder are read; ``None`` asks where it can.
        yes: nothing is asked: what would be, is answered with yes.
        model: as `vlmchat.finetune.preparing.find_base` takes it.
        device: ``cpu`` or ``cuda``.
    """

    files: tuple[Path, ...]
    from_chats: bool
    chats: tuple[str, ...]
    every_reply: bool
    outside: bool | None
    yes: bool
    model: str | None
    device: str

    @property
    def title(self) -> str:
        """What a job is called that nobody gave a name."""
        return self.files[0].stem if self.files else "chats"


def somebody_there() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def yes(question: str) -> bool:
    """Ask a person on standard error; nothing but a yes is one."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Outside:
    """Whether files outside a log's folder may be read: asked once for each folder."""

    def __init__(self, wanted: Wanted) -> None:
        self._all = True if wanted.yes else wanted.outside
        self._folders: dict[Path, bool] = {}

    def __call__(self, path: Path) -> bool:
        """Return whether `path` may be read."""
        if self._all is not None:
            return self._all
        if not somebody_there():
            return False
        folder = path.parent
        if folder not in self._folders:
            shown = visible_line(str(path))
            print(f"\r“{shown}” lies outside the log's folder.", file=sys.stderr)
            question = f"Read it, and what else is named in “{visible_line(str(folder))}”?"
            self._folders[folder] = yes(question)
        return self._folders[folder]

    def unasked(self, report: "DataReport") -> str:
        """Return a sentence about files that nobody was asked about; empty if there is none."""
        if self._all is not None or not report.outside or somebody_there():
            return ""
        many = len(report.outside)
        files = "1 file lies" if many == 1 else f"{many} files lie"
        return (
            f"{files} outside the log's folder, {visible_line(str(report.outside[0]))} for one: "
            "read them with --allow-outside, or leave their rows out with --skip-outside."
        )


def wanted_from(
    files: tuple[Path, ...],
    from_chats: bool,
    chats: tuple[str, ...],
    every_reply: bool,
    outside: bool | None,
    yes: bool,
    model: str | None,
    device: str | None,
) -> Wanted:
    """Return what is wanted, with the settings of the configuration applied; blocking.

    Raises:
        UsageError: a setting is wrong, or a log does not exist.
    """
    from vlmchat.cli.overrides import given
    from vlmchat.settings import load_settings

    settings = load_settings({"engine": given(model=model, device=device)})
    settings.put_in_force()
    for path in files:
        if not path.exists():
            raise UsageError(f"“{visible_line(str(path))}” does not exist.")
    engine = settings.engine
    # A model of an engine elsewhere is not one that can be trained here.
    named = model if model or engine.url else engine.model
    found = device_of(engine.device)
    return Wanted(files, from_chats, chats, every_reply, outside, yes, named, found)


def device_of(asked: str) -> str:
    """Return ``cpu`` or ``cuda`` for what was asked; blocking, and PyTorch is not loaded."""
    if asked != "auto":
        return asked
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        if "+cpu" in importlib.metadata.version("torch"):
            return "cpu"
    return "cuda" if _has_gpu() else "cpu"


def _has_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return listed.stdout.startswith(b"GPU")


def machine_of(device: str, base: "Base") -> "Machine":
    """Return what this machine has for a run; blocking."""
    from vlmchat.finetune.preparing import here
    from vlmchat.talk.finetuning.memory import free_memory

    return here(device, base, memory=free_memory(device))


@contextlib.contextmanager
def fetching() -> "Iterator[ProgressSink]":
    """Yield what shows how a model is fetched: a bar on a terminal, nothing elsewhere."""
    from vlmchat.cli.loading import Bar
    from vlmchat.models.progress import Progress

    with Bar() as bar:

        def show(step: Progress) -> None:
            bar.update(step.text, step.done, step.total if step.stage == "downloading" else 0)

        yield show


@contextlib.contextmanager
def counting() -> Iterator[Callable[[int], None]]:
    """Yield what is told how many rows were read; shown on a terminal only."""
    shown, last = False, 0.0

    def told(rows: int) -> None:
        nonlocal shown, last
        if sys.stderr.isatty() and (now := time.monotonic()) - last > _TELL_SECONDS:
            shown, last = True, now
            print(f"\r{rows:,} rows read", end="", file=sys.stderr, flush=True)

    try:
        yield told
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def conversations_of(wanted: Wanted) -> "Sequence[Conversation]":
    """Return the saved conversations that are to teach; blocking.

    Raises:
        UsageError: one that was named does not exist, or there is none at all.
    """
    if not (wanted.from_chats or wanted.chats):
        return ()
    from vlmchat import paths
    from vlmchat.cli.chats import conversations
    from vlmchat.store.store import Store

    with Store(paths.data_dir()) as store:
        found = conversations(store, wanted.chats)
    if not found:
        raise UsageError("There is no saved conversation to learn from.")
    return found


def suited(report: "DataReport", settings: "RunSettings") -> "RunSettings":
    """Return the settings for what was found, where nobody said which method it shall be."""
    kinds = report.kinds
    if not kinds or "sft" in kinds:
        return settings
    from vlmchat.cli.tuning_options import chosen

    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    if "preference" in kinds:
        return chosen("preference", given)
    return chosen(None, {**given, "method": "kto"})


def planned(
    preparation: "Preparation",
    settings: "RunSettings",
    wanted: Wanted,
    voice: "Voice",
    *,
    ask: bool,
) -> "Plan":
    """Return a run that fits, and tell what it costs; blocking.

    Args:
        preparation: that has read.
        settings: of the run; where they do not fit, a person may take the nearest that do.
        wanted: what was asked for.
        voice: is told.
        ask: whether a person may be asked.

    Raises:
        UsageError: there is nothing to learn from, or it does not fit.
    """
    from vlmchat.cli.tuning_options import as_options
    from vlmchat.cli.tuning_voices import Costs, note
    from vlmchat.finetune.estimate import DoesNotFitError
    from vlmchat.finetune.methods import for_method
    from vlmchat.finetune.split import split

    base = preparation.base
    try:
        plan = preparation.plan(settings, machine_of(wanted.device, base))
    except DoesNotFitError as error:
        chosen = for_method(preparation.report.examples, settings.method)
        parted = split(chosen, settings.validation_share, settings.seed)
        smaller = error.suggestion
        voice.costs(
            Costs(base, wanted.device, settings, error.estimate, parted, smaller, str(error))
        )
        if smaller is None:
            raise
        words = as_options(smaller, settings)
        if ask and somebody_there() and not wanted.yes:
            note(str(error))
            if yes(f"Take {words}?"):
                return planned(preparation, smaller, wanted, voice, ask=ask)
        raise UsageError(f"{str(error).removesuffix('.')} ({words}).") from None
    voice.costs(Costs(base, wanted.device, settings, plan.estimate, plan.split))
    return plan


def to_be_started(report: "DataReport", wanted: Wanted) -> bool:
    """Return whether the run shall start: a person is asked where rows are left out."""
    left_out = report.rows - len(report.usable)
    if wanted.yes or not left_out or not somebody_there():
        return True
    rows = "1 row is" if left_out == 1 else f"{left_out:,} rows are"
    return yes(f"{rows} left out. Start?")
