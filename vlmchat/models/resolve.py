"""From what a person calls a model to the folder that holds it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.models import catalogue, hub
from vlmchat.models.catalogue import CATALOGUE, CatalogueEntry
from vlmchat.models.local import cached_snapshot, check_folder
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

_GET_ONE = "get one with “vlmchat models pull smolvlm2-500m” where there is a network"
DEMO_NOTICE = (
    "This is the demo model, a small example trained on drawn pictures: it does not understand "
    "photographs."
)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on this machine.

    Attributes:
        path: the folder with its files.
        id: catalogue name, Hub id, or the folder's path as it was given.
        title: name for a person; the demo's says what it is.
        revision: commit on the Hub, or a digest; empty when unknown.
        is_demo: whether it is the demo model.
        notice: a sentence to show once; may be empty.
    """

    path: Path
    id: str
    title: str
    revision: str
    is_demo: bool = False
    notice: str = ""


def resolve(
    spec: str | None, progress: ProgressSink, *, memory_bytes: int, device: str
) -> ModelFolder:
    """Return the folder of the model called `spec`, fetching it if it is not here.

    Args:
        spec: catalogue name, ``owner/name``, ``owner/name@revision`` or a folder; ``None``
            chooses by what is here and by the hardware.
        progress: told what is being done.
        memory_bytes: free on the device.
        device: ``cpu`` or ``cuda``.

    Raises:
        ModelError: one sentence that says what to do.
    """
    if spec is None:
        return _default(progress, memory_bytes, device)
    if spec == catalogue.DEMO_ID:
        return demo_folder(progress, DEMO_NOTICE)
    path = Path(spec).expanduser()
    if path.exists() or spec.startswith(("/", "./", "../", "~")):
        return _from_folder(path, spec)
    name, _, revision = spec.partition("@")
    entry = catalogue.find(name)
    if entry is None and name.count("/") != 1:
        near = catalogue.nearest(name)
        hint = f"did you mean {' or '.join(near)}" if near else "vlmchat models lists them"
        raise ModelError(
            f"There is no model “{visible_line(spec)}”: {hint}. "
            "Hub ids look like owner/name, folders like ./folder."
        )
    return from_hub(entry.hub_id if entry else name, revision or "main", progress)


def _from_folder(path: Path, spec: str) -> ModelFolder:
    check_folder(path)
    config = (path / "config.json").read_bytes()
    return ModelFolder(path, spec, path.resolve().name, hashlib.sha256(config).hexdigest()[:12])


def from_hub(
    repo_id: str, revision: str, progress: ProgressSink, notice: str = ""
) -> ModelFolder:
    """Return the model `repo_id` from the Hub's cache, or fetch it.

    Raises:
        ModelError: as `resolve`.
    """
    folder = cached_snapshot(repo_id, revision)
    if folder is None:
        progress(Progress("downloading", f"Asking the Hub for {visible_line(repo_id)}"))
        folder = hub.download(repo_id, revision, progress)
    check_folder(folder)
    entry = catalogue.find(repo_id)
    title = entry.title if entry else visible_line(repo_id)
    return ModelFolder(folder, entry.id if entry else repo_id, title, folder.name, notice=notice)


def demo_folder(progress: ProgressSink, notice: str) -> ModelFolder:
    """Return the demo model, put together on first use."""
    from vlmchat.demo.build import prepare_demo

    path = prepare_demo(progress)
    return ModelFolder(
        path, catalogue.DEMO_ID, catalogue.DEMO_TITLE, path.name, is_demo=True, notice=notice
    )


def _default(progress: ProgressSink, memory_bytes: int, device: str) -> ModelFolder:
    """Choose: the best that is here and fits, else what suits the hardware, else the demo."""
    for entry in _by_preference(device):
        if entry.hub_id and _fits(entry, memory_bytes) and cached_snapshot(entry.hub_id):
            notice = f"{entry.title} was chosen: the best model on this machine that fits."
            return from_hub(entry.hub_id, "main", progress, notice)
    progress(Progress("starting", "Looking for the Hugging Face Hub"))
    if not hub.reachable():
        return demo_folder(
            progress,
            "No model is on this machine and the Hugging Face Hub does not answer, so this is "
            "the demo model, a small example trained on drawn pictures: it does not understand "
            f"photographs; {_GET_ONE}.",
        )
    fitting = [e for e in _by_preference(device) if e.hub_id and _fits(e, memory_bytes)]
    if not fitting:
        return demo_folder(
            progress, f"{human_bytes(memory_bytes)} are too little for SmolVLM. {DEMO_NOTICE}"
        )
    entry = fitting[0]
    where = "this GPU" if device == "cuda" else "this processor"
    notice = f"{entry.title} was chosen for {where}; “vlmchat models” lists others."
    return from_hub(entry.hub_id, "main", progress, notice)


def _by_preference(device: str) -> list[CatalogueEntry]:
    """Return the catalogue, best first; on a CPU the 2.2B models are too slow to choose."""
    entries = [e for e in CATALOGUE if device == "cuda" or "2.2b" not in e.id]
    rest = [e for e in CATALOGUE if e not in entries]
    return entries + rest


def _fits(entry: CatalogueEntry, memory_bytes: int) -> bool:
    return entry.memory("4bit") <= memory_bytes
