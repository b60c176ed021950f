"""The adapter shelf as a front shows it: everything is read here, and nothing is drawn."""

from dataclasses import dataclass


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
