"""From what a person typed (or did not) to a model folder that can be loaded."""

import re
from dataclasses import dataclass
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.models import choose, demo_model, hub, local
from vlmchat.models.catalogue import DEMO, CatalogueEntry, lookup, nearest
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

_HUB_ID = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,254}", re.ASCII)
_GET_ONE = "get a real one with `vlmchat models pull smolvlm2-500m`"
_TO_FETCH = f"{DEMO.note} `/model smolvlm2-500m` in the chat gets one that knows them."
_TOO_LARGE = f"{DEMO.note} Those that do need more free memory: `vlmchat models` says how much."


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on this machine.

    Attributes:
        path: its folder, checked to be whole.
        id: its short name in the catalogue, its Hub id, or its folder.
        title: its name for people; the demo's says that it is the demo.
        revision: commit on the Hub, the demo's key, or empty for a folder.
        is_demo: whether it is the demo model.
        notice: a sentence to show once; may be empty.
    """

    path: Path
    id: str
    title: str
    revision: str
    is_demo: bool
    notice: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a named model comes from.

    Attributes:
        hub_id: ``owner/name`` on the Hub, empty for a folder and for the demo.
        revision: branch, tag or commit; empty for the Hub's ``main``.
        entry: the catalogue's entry, if it is one of them.
        folder: the local folder, if it is one.
    """

    hub_id: str = ""
    revision: str = ""
    entry: CatalogueEntry | None = None
    folder: Path | None = None


def parse(spec: str) -> Source:
    """Return what `spec` names: a folder, a catalogue name, or ``owner/name``, with ``@revision``.

    Raises:
        ModelError: nothing can have this name; similar catalogue names are given.
    """
    text = spec.strip()
    try:
        path = Path(text).expanduser()
        if text and (path.is_dir() or text.startswith(("/", "./", "../", "~"))):
            return Source(folder=path)
    except (OSError, ValueError, RuntimeError):
        pass  # too long or odd for a path: then it is not one
    name, _, revision = text.partition("@")
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise ModelError(
            f"“{visible_line(revision)}” is no revision: give a branch, tag or commit."
        )
    entry = lookup(name)
    if entry is not None:
        if entry.is_demo and revision:
            raise ModelError("The demo model has no revisions: ask for “demo” alone.")
        return Source(entry.hub_id, revision, entry)
    if _HUB_ID.fullmatch(name):
        return Source(name, revision)
    raise unknown(spec)


def unknown(spec: str) -> ModelError:
    """Return the error for a name that is no model, with the nearest names there are."""
    near = nearest(spec.partition("@")[0])
    hint = (
        f"did you mean {' or '.join(near)}?" if near else "`vlmchat models` lists those there are."
    )
    shown = visible_line(spec if len(spec) <= 100 else spec[:100] + "…")
    return ModelError(f"There is no model “{shown}”: {hint}")


def resolve(
    spec: str | None, progress: ProgressSink, *, memory_bytes: int, device: str
) -> ModelFolder:
    """Return the folder of the model `spec` names, fetched first if it is not on this machine.

    Args:
        spec: catalogue name, Hub id (both with ``@revision`` if wanted), folder, or None for the
            default: the best model here, else one from the Hub, else the demo.
        progress: is told what happens.
        memory_bytes: free on the device; the default is chosen by it.
        device: ``cpu`` or ``cuda``.

    Raises:
        ModelError: unknown, not to be fetched, or not whole; one sentence.
    """
    if spec is None or not spec.strip():
        return _default(progress, memory_bytes, device)
    source = parse(spec)
    if source.folder is not None:
        local.check_folder(source.folder)
        path = source.folder.resolve()
        return ModelFolder(path, str(path), visible_line(path.name), "", False, "")
    if source.entry is not None and source.entry.is_demo:
        return _demo(progress, _TO_FETCH)
    return _from_hub(source, progress, "")


def pull(spec: str, progress: ProgressSink) -> ModelFolder:
    """Fetch the model `spec` names, asking the Hub for the newest state of its branch.

    Raises:
        ModelError: unknown, not to be fetched, or a local folder.
    """
    source = parse(spec)
    if source.folder is not None:
        local.check_folder(source.folder)
        raise ModelError(
            f"“{visible_line(spec)}” is a folder on this machine: there is nothing to fetch."
        )
    if source.entry is not None and source.entry.is_demo:
        return _demo(progress, DEMO.note)
    return _fetched(source, progress, "")


def _default(progress: ProgressSink, memory_bytes: int, device: str) -> ModelFolder:
    place = "this CPU" if device == "cpu" else "this GPU"
    why = f"for {place} with {human_bytes(memory_bytes)} free"
    present = local.catalogue_on_this_machine()
    entry = choose.best_present(present, memory_bytes, device)
    if entry is not None:
        notice = f"{entry.title} was chosen {why}; take another with --model."
        return _from_hub(Source(entry.hub_id, entry=entry), progress, notice)
    missing = "No model on this machine fits" if present else "No model is on this machine"
    progress(Progress("starting", "Asking whether the Hugging Face Hub answers"))
    entry = choose.best_to_fetch(memory_bytes, device)
    if entry is None:
        return _demo(progress, f"No other model fits {why}, so this is the demo. {_TOO_LARGE}")
    if hub.reachable():
        notice = f"{missing}, so {entry.title} was fetched {why}; take another with --model."
        try:
            return _fetched(Source(entry.hub_id, entry=entry), progress, notice)
        except hub.HubUnreachableError:
            pass  # it answered once and no more: the demo is better than nothing
    return _demo(
        progress,
        f"{missing} and the Hugging Face Hub does not answer, so this is the demo model, which "
        f"knows simple drawn pictures only; {_GET_ONE} where there is a network.",
    )


def _demo(progress: ProgressSink, notice: str) -> ModelFolder:
    path = demo_model.ensure(progress)
    return ModelFolder(path, DEMO.id, DEMO.title, demo_model.revision(), True, notice)


def _from_hub(source: Source, progress: ProgressSink, notice: str) -> ModelFolder:
    found = local.find_snapshot(source.hub_id, source.revision)
    if found is None:
        return _fetched(source, progress, notice)
    return _checked(source, *found, notice)


def _fetched(source: Source, progress: ProgressSink, notice: str) -> ModelFolder:
    try:
        path = hub.download(source.hub_id, source.revision, progress)
    except hub.HubNotFoundError as error:
        near = nearest(source.hub_id)
        hint = f"; did you mean {' or '.join(near)}?" if near and source.entry is None else "."
        raise ModelError(str(error).rstrip(".") + hint) from error
    return _checked(source, path, path.name, notice)


def _checked(source: Source, path: Path, commit: str, notice: str) -> ModelFolder:
    local.check_folder(path)
    entry = source.entry
    identity = entry.id if entry is not None else source.hub_id
    title = entry.title if entry is not None else source.hub_id.rpartition("/")[2]
    return ModelFolder(path, identity, title, commit, False, notice)
