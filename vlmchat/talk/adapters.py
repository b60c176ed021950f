"""The adapter shelf as a front shows and changes it: nothing is drawn here."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmchat.errors import VlmchatError

if TYPE_CHECKING:
    from vlmchat.finetune.shelf import Adapter


@dataclass(frozen=True, slots=True)
class ShelfRow:
    """An adapter on the shelf, as text that can be shown.

    Attributes:
        name: as it is called.
        on: whether it is laid over the model.
        line: what tells it from the others.
        columns: base, kind, rows, loss and day.
        facts: everything that is known about it.
    """

    name: str
    on: bool
    line: str
    columns: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


COLUMNS = ("base", "learned", "rows", "loss", "made")


def shelf_rows(on: str) -> list[ShelfRow]:
    """Return the adapters on the shelf, the newest first; blocking.

    Args:
        on: what the engine says is laid over the model, as ``name@hash``.

    Raises:
        JobError: the shelf cannot be read.
    """
    from vlmchat.finetune import describing
    from vlmchat.finetune.files import told
    from vlmchat.finetune.shelf import list_adapters

    with told("The adapter shelf cannot be read"):
        return [
            ShelfRow(
                adapter.name,
                describing.is_on(adapter, on),
                describing.line(adapter),
                (
                    describing.base(adapter),
                    describing.kind(adapter),
                    str(adapter.card.rows or ""),
                    describing.loss(adapter),
                    describing.day(adapter),
                ),
                tuple(describing.facts(adapter)),
            )
            for adapter in list_adapters()
        ]


def rename(name: str, new: str) -> "Adapter":
    """Give an adapter another name, in the person's settings too; blocking.

    Raises:
        UsageError: there is none, or the new name is taken or says nothing.
        JobError: it cannot be renamed.
    """
    from vlmchat.finetune import shelf

    meant = _is_configured(name)
    renamed = shelf.rename(name, new)
    if meant:
        _configure(renamed.name)
    return renamed


def delete(name: str) -> None:
    """Remove an adapter, and from the person's settings, as every start would miss it; blocking.

    Raises:
        UsageError: there is none.
        JobError: it cannot be removed.
    """
    from vlmchat.finetune import shelf

    meant = _is_configured(name)
    shelf.delete(name)
    if meant:
        _configure(None)


def _is_configured(name: str) -> bool:
    """Return whether the configuration file says that the engine starts with this adapter."""
    from vlmchat import paths
    from vlmchat.models.adapter import find_adapter
    from vlmchat.settings import read_config

    try:
        group = read_config(paths.config_file()).get("engine")
    except VlmchatError:  # which is told elsewhere
        return False
    adapter = group.get("adapter") if isinstance(group, dict) else None
    return isinstance(adapter, str) and find_adapter(adapter) == find_adapter(name)


def _configure(name: str | None) -> None:
    from vlmchat.config_file import set_value

    with contextlib.suppress(VlmchatError):  # a start that misses the adapter says so
        set_value("engine.adapter", name)
