"""Sets whose answers are known: drawn pictures with questions, as `vlmchat.demo.drawing` has them.

The same seed gives the same pictures and rows on any machine with the same fonts and pictured
objects (`vlmchat.demo.drawing.sources`); training and evaluation draw on different ones, and words
that evaluation may show are never drawn for training.
"""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from vlmchat.errors import UsageError
from vlmchat.finetune.files import write_whole
from vlmchat.synth.ledger import Ledger
from vlmchat.synth.recipe import MADE_BY
from vlmchat.synth.rows import path_in_row
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.demo.drawing.facts import Asked, Facts

Drawn: TypeAlias = Literal["shapes", "charts", "text", "things"]
Split: TypeAlias = Literal["train", "eval"]
DRAWN: tuple[Drawn, ...] = get_args(Drawn)
_KINDS: dict[Drawn, str] = {
    "shapes": "scene",
    "charts": "chart",
    "text": "lettering",
    "things": "thing",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is drawn.

    Attributes:
        kind: of the pictures.
        count: pictures.
        per_image: questions about each, fewer where there are not so many.
        seed: of all of it.
        split: whose seeds and words are drawn on.
        level: 0…1, how hard.
    """

    kind: Drawn
    count: int
    per_image: int = 4
    seed: int = 0
    split: Split = "train"
    level: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"drawn": self.kind, **{k: v for k, v in asdict(self).items() if k != "kind"}}


def pictures_folder(out: Path) -> Path:
    """Return where the pictures of a set lie, unless somebody names another folder."""
    return out.with_name(f"{out.stem}_pictures")


def draw_set(
    order: Order, folder: Path, ledger: Ledger, tell: Callable[[int], None] = lambda done: None
) -> int:
    """Draw what is not there yet; blocking.

    Args:
        order: what.
        folder: of the pictures, made if missing.
        ledger: keeps the rows.
        tell: called with how many pictures are there.

    Returns:
        How many pictures have been drawn now.

    Raises:
        UsageError: a picture is there already that is another one, or nothing can be written.
    """
    drawn = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(order.count):
            piece = f"{order.kind}/{index}"
            if piece not in ledger.done:
                ledger.add(piece, _rows(order, index, folder, ledger), [])
                drawn += 1
            tell(index + 1)
    except OSError as error:
        raise UsageError(
            f"“{visible_line(str(folder))}” cannot be written ({error.strerror or error})."
        ) from error
    return drawn


def _rows(order: Order, index: int, folder: Path, ledger: Ledger) -> list[dict[str, Any]]:
    """Draw one picture, and return its rows."""
    from vlmchat.demo.drawing.examples import lesson, seeded

    random = seeded(f"synth-{order.kind}", order.split, order.seed, index)
    made = lesson(_KINDS[order.kind], random, order.level, order.split)
    buffer = io.BytesIO()
    made.images[0].save(buffer, "PNG")
    path = folder / f"{order.kind}-{order.split}-{order.seed}-{index:06}.png"
    _put(path, buffer.getvalue())
    facts = asdict(made.facts)  # what `vlmchat.demo.drawing.judging` judges by
    reference = path_in_row(path, ledger.out)
    asked = list(made.asked)
    random.shuffle(asked)
    rows: list[dict[str, Any]] = []
    about = {"by": MADE_BY, "run": ledger.run, "drawn": order.kind, "index": index}
    about |= {"seed": order.seed, "split": order.split, "level": order.level}
    for one in asked[: order.per_image]:
        # The picture stands beside the turns, where evaluation looks, and takes the place in them.
        content = [{"type": "image"}, {"type": "text", "text": one.question}]
        answer = {"role": "assistant", "content": [{"type": "text", "text": one.answer}]}
        rows.append(
            {
                "id": f"{path.stem}/{len(rows) + 1}",
                "category": one.task,
                "image": reference,
                "question": one.question,
                "answers": _right(one, made.facts),
                "messages": [{"role": "user", "content": content}, answer],
                "conversation_id": path.stem,
                "made": {**about, "kind": one.task, "facts": facts},
            }
        )
    return rows


def _right(asked: "Asked", facts: "Facts") -> list[str]:
    """Return every answer that is right: a thing may have several names."""
    from vlmchat.demo.drawing import wording
    from vlmchat.demo.drawing.facts import Thing

    others = facts.others if isinstance(facts, Thing) and asked.task == "object" else ()
    named = [f"The picture shows {wording.named(name)}." for name in others]
    return list(dict.fromkeys([asked.answer, *named]))


def _put(path: Path, data: bytes) -> None:
    """Write a picture; one that is there already must be the same."""
    if not path.exists():
        write_whole(path, data)
    elif path.read_bytes() != data:
        raise UsageError(
            f"“{visible_line(str(path))}” is there already, and another picture: name another "
            "--pictures folder."
        )
