"""Whether the places that answers looked at are the places that they are about.

    python benchmarks/evidence.py --model demo --count 100 --rows evidence.jsonl
    python benchmarks/evidence.py --count 100 --sweep 20 --layers --rows more.jsonl

Draws scenes of two to four coloured shapes, asks for the colour of the one of its shape, and takes
what the model says. Then, for each way to put attention together: does the cell that drew most lie
in the box of the shape that was asked about? Beside it: the picture's middle (what a model with a
centre prior would say), and chance (the share of cells that lie in the box). Hiding the hottest
window is compared with hiding three others. With ``--sweep N``, for the first N scenes the window
whose hiding costs the answer most is looked for among all places, which uses no attention.

A row a scene is added to the file; those that are there are not computed again.
"""

import argparse
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from PIL import Image

from vlmchat.chat.messages import Message, user_message
from vlmchat.demo.drawing import canvas, scenes
from vlmchat.demo.drawing.examples import seeded
from vlmchat.demo.drawing.facts import Placed
from vlmchat.demo.evaluating.answering import Answerer, Said, load
from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.evidence import Looked, later_half, look
from vlmchat.engine.hiding import Hiding
from vlmchat.engine.loading import LoadedModel, LoadOptions
from vlmchat.finetune.compare import wilson
from vlmchat.media.images import media_from_bytes
from vlmchat.media.tiles import Box
from vlmchat.media.windows import elsewhere, highest, windows
from vlmchat.models.progress import ignore_progress

OTHERS = 3


class Asks(Protocol):
    """Whoever answers a question."""

    def ask(self, message: Message) -> Said:
        """Return what is said to a message."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, and the shape in it that is asked about."""

    image: Image.Image
    shape: Placed
    question: Message


def drawn(index: int) -> Scene:
    """Return the scene of a number: always the same one, and none of those of training."""
    random = seeded("evidence", "eval", 0, index)
    while True:
        scene, background = scenes.compose(random, 1.0, random.randint(2, 4))
        shapes = [it.shape for it in scene.objects]
        alone = [it for it in scene.objects if shapes.count(it.shape) == 1]
        if alone:
            break
    chosen = random.choice(alone)
    image = scenes.paint(random, 1.0, scene, background)
    return Scene(image, chosen, asked(image, f"What color is the {chosen.shape}?"))


def asked(image: Image.Image, question: str) -> Message:
    """Return a question about a picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return user_message(question, (media_from_bytes(buffer.getvalue(), "scene.png"),))


def inside(shape: Placed, x: float, y: float) -> bool:
    """Return whether a point, in fractions of the picture, lies in the box around a shape."""
    across, down = abs(x * canvas.SIDE - shape.x), abs(y * canvas.SIDE - shape.y)
    return max(across, down) <= shape.radius


def middles(rows: int, cols: int) -> list[tuple[float, float]]:
    """Return the middles of the cells of a grid, row by row."""
    return [((x + 0.5) / cols, (y + 0.5) / rows) for y in range(rows) for x in range(cols)]


def hottest(grid: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the middle of the cell that holds most."""
    cells = [value for row in grid for value in row]
    return middles(len(grid), len(grid[0]))[cells.index(max(cells))]


def judged(
    loaded: LoadedModel, answerer: Asks, index: int, *, sweep: bool, layers: bool
) -> dict[str, Any]:
    """Return what came of one scene."""
    scene = drawn(index)
    text = answerer.ask(scene.question).text
    messages = [scene.question]
    prompt = loaded.builder.build(messages)
    (ids,) = loaded.builder.answers(messages, [text], loaded.end_ids)
    caches, cancel = Caches(), Event()
    every = loaded.model.config.get_text_config().num_hidden_layers
    ranges = {"later half": later_half(every)}
    if layers:
        third = every - every // 3
        ranges |= {"all layers": range(every), "last third": range(third, every)}
    peaks: dict[str, bool] = {}
    found: dict[str, list[list[float]]] = {}
    for name, chosen in ranges.items():
        looked = look(loaded, prompt, ids, text, cancel, caches, chosen)
        for what, grid in grids_of(looked, scene.shape.colour).items():
            found[f"{name}, {what}"] = grid
            peaks[f"{name}, {what}"] = inside(scene.shape, *hottest(grid))
    grid = found["later half, all words"]
    hiding = Hiding(loaded, prompt, ids, cancel, caches)
    plain = sum(hiding.plain())
    _, place = highest([grid])
    others = elsewhere(grid, place, OTHERS, prompt.images[0].sha256)
    boxes = [window.box(grid) for window in (place, *others, *(windows(grid) if sweep else ()))]
    lost = [plain - sum(row) for row in hiding.hidden(0, boxes)]
    cells = middles(len(grid), len(grid[0]))
    row = {
        "index": index,
        "said": text,
        "right": scene.shape.colour in text.casefold(),
        "peaks": peaks,
        "middle": inside(scene.shape, 0.5, 0.5),
        "chance": sum(inside(scene.shape, *cell) for cell in cells) / len(cells),
        "lost": lost[0],
        "lost_elsewhere": lost[1 : 1 + len(others)],
    }
    if sweep:
        swept = lost[1 + len(others) :]
        best = boxes[1 + len(others) :][swept.index(max(swept))]
        row["swept"] = inside(scene.shape, *centre(best))
        row["swept_chance"] = sum(
            inside(scene.shape, *centre(box)) for box in boxes[1 + len(others) :]
        ) / len(swept)
        row["lost_object"] = plain - sum(hiding.hidden(0, [around(scene.shape)])[0])
    return row


def grids_of(looked: Looked, colour: str) -> dict[str, list[list[float]]]:
    """Return what is drawn for the whole answer, and for its word for the colour if it says it."""
    seen = looked.seen(looked.whole)
    found = {"all words": seen.heat[0].tolist(), "all words, bare": seen.raw[0].tolist()}
    begin = looked.text.casefold().find(colour)
    spoken = looked.spoken(begin, begin + len(colour)) if begin >= 0 else looked.whole
    seen = looked.seen(spoken)
    return found | {"colour": seen.heat[0].tolist(), "colour, bare": seen.raw[0].tolist()}


def centre(box: Box) -> tuple[float, float]:
    """Return the middle of a box."""
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def around(shape: Placed) -> Box:
    """Return the box around a shape, as fractions of the picture."""
    low, high = (max(at - shape.radius, 0) / canvas.SIDE for at in (shape.x, shape.y))
    right, bottom = (min(at + shape.radius, canvas.SIDE) for at in (shape.x, shape.y))
    return Box(low, high, right / canvas.SIDE, bottom / canvas.SIDE)


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures of all scenes as lines."""
    right = [row["right"] for row in rows]
    lines = [f"{len(rows)} scenes; {sum(right)} answers name the right colour", ""]
    lines.append("where the peak lies in the box of the shape that was asked about:")
    for name in dict.fromkeys(name for row in rows for name in row["peaks"]):
        hits = [row["peaks"][name] for row in rows if name in row["peaks"]]
        lines.append(f"  attention, {name:27} {share(hits)} of {len(hits)}")
    lines.append(f"  the picture's middle                   {share([r['middle'] for r in rows])}")
    lines.append(f"  chance (cells in the box)              {mean(r['chance'] for r in rows):.3f}")
    if swept := [row for row in rows if "swept" in row]:
        lines.append(f"  hiding every place ({len(swept)} scenes)         "
                     f"{share([r['swept'] for r in swept])}")  # fmt: skip
        lines.append(f"  chance for that                        "
                     f"{mean(r['swept_chance'] for r in swept):.3f}")  # fmt: skip
        lines.append(f"hiding the shape itself costs {mean(r['lost_object'] for r in swept):.2f} "
                     "nats in the mean")  # fmt: skip
    most = [row["lost"] > max(row["lost_elsewhere"]) for row in rows]
    lines.append(
        f"hiding the hottest place costs {mean(r['lost'] for r in rows):.2f} nats in the mean, "
        f"hiding others {mean(mean(r['lost_elsewhere']) for r in rows):.2f}; it costs more than "
        f"each of {OTHERS} others in {share(most)} (chance {1 / (OTHERS + 1):.2f})"
    )
    return "\n".join(lines)


def mean(values: Iterable[float]) -> float:
    """Return the mean."""
    found = list(values)
    return math.fsum(found) / len(found)


def share(hits: Sequence[bool]) -> str:
    """Return how many are true, with Wilson's 95 % interval."""
    low, high = wilson(sum(hits), len(hits))
    return f"{sum(hits) / len(hits):.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Draw, ask, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--quant", default="none")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--sweep", type=int, default=0)
    parser.add_argument("--layers", action="store_true", help="compare ranges of layers")
    parser.add_argument("--rows", type=Path, default=Path("evidence.jsonl"))
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.rows.open()] if given.rows.exists() else []
    wanted = [index for index in range(given.count) if index not in {r["index"] for r in rows}]
    if wanted:
        options = LoadOptions(given.model, given.quant, "cpu", native="off")
        loaded = load(options, ignore_progress)
        answerer = Answerer(loaded)
        with given.rows.open("a") as file:
            for index in wanted:
                sweep = index < given.sweep
                rows.append(judged(loaded, answerer, index, sweep=sweep, layers=given.layers))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    print(report(rows))


if __name__ == "__main__":
    main()
