"""Small tasks to fine-tune on: drawn pictures with questions and answers, as a log to be read.

Each task is drawn by a seeded generator, so that as many rows as are wanted can be had, and those
that measure share no picture with those that train. The answers are a convention that no base
model can know (the bins of a sorting table, a shop's own words), or what stands in the picture.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

from vlmchat.demo.pictures import COLOURS, OUTLINES, SIDE, Shape, draw_scene

_PAPER = (250, 249, 245)
_INK = (30, 30, 30)
_SHAPES = tuple(OUTLINES)
_MERCHANTS = ("Corner Cafe", "Green Market", "Book Nook", "Bike Works", "Sun Bakery")
_GOODS = ("tea", "bread", "soap", "pens", "milk", "rice", "map", "tape", "cake", "nuts")
_TOTALS = ("4.50", "7.25", "9.90", "12.00", "18.40")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun")
# The convention of the sorting table: which bin a part goes to, by its colour.
BINS = {
    "red": "K7 Amber",
    "green": "M2 Cedar",
    "blue": "Q4 Delta",
    "yellow": "T9 Onyx",
    "orange": "V3 Pearl",
    "purple": "W5 Raven",
    "pink": "X8 Sable",
    "black": "Z1 Topaz",
}


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned.

    Attributes:
        name: how it is called on a command line.
        title: what it is about, one line.
        answers: everything that can be right.
        questions: ways to ask for it.
        draw: a picture to which an answer is right.
    """

    name: str
    title: str
    answers: tuple[str, ...]
    questions: tuple[str, ...]
    draw: Callable[[Random, str], Image.Image]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A picture (PNG) with a question and the right answer."""

    png: bytes
    question: str
    answer: str


def rows(task: Task, count: int, seed: int) -> Iterator[TaskRow]:
    """Yield `count` rows, every answer about equally often, in a mixed order.

    The same seed always gives the same rows; other seeds give other pictures.
    """
    random = Random(f"{task.name}/{seed}")  # noqa: S311 - pictures, no secrets
    answers = [task.answers[place % len(task.answers)] for place in range(count)]
    random.shuffle(answers)
    for answer in answers:
        buffer = io.BytesIO()
        task.draw(random, answer).save(buffer, "PNG")
        yield TaskRow(buffer.getvalue(), random.choice(task.questions), answer)


def write_log(folder: Path, name: str, found: Iterator[TaskRow]) -> Path:
    """Write rows as ``NAME.jsonl`` in the chat format, with their pictures in a folder NAME."""
    pictures = folder / name
    pictures.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for number, row in enumerate(found, 1):
        path = pictures / f"{number:03}.png"
        path.write_bytes(row.png)
        asked = [
            {"type": "image", "path": f"{name}/{path.name}"},
            {"type": "text", "text": row.question},
        ]
        answered = [{"type": "text", "text": row.answer}]
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        lines.append(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
    log = folder / f"{name}.jsonl"
    log.write_text("".join(lines), "utf-8")
    return log


# Drawing ---------------------------------------------------------------------------------------


def _somewhere(random: Random, kind: str, colour: str) -> Shape:
    radius = random.uniform(34, 52)
    free = SIDE / 2 - radius * 1.15 - 6
    x, y = (SIDE / 2 + random.uniform(-free, free) for _ in range(2))
    return Shape(kind, colour, x, y, radius)


def _part(random: Random, answer: str) -> Image.Image:
    colour = next(name for name, place in BINS.items() if place == answer)
    return draw_scene((_somewhere(random, random.choice(_SHAPES), colour),))


def _receipt(random: Random, merchant: str, total: str) -> Image.Image:
    """Return a till receipt: the shop on top, what was bought, and the total at the end."""
    image = Image.new("RGB", (SIDE, SIDE), (225, 222, 215))
    pen = ImageDraw.Draw(image)
    left, top = 30 + random.randint(-8, 8), random.randint(6, 16)
    pen.rectangle((left, top, left + 180, SIDE - 8), fill=_PAPER)
    pen.text((left + 12, top + 10), merchant, font=_font(24), fill=_INK)
    cents = int(total.replace(".", ""))
    goods = random.sample(_GOODS, 3)
    first = random.randint(cents // 5, cents // 3)
    second = random.randint(cents // 5, cents // 3)
    for place, (good, price) in enumerate(
        zip(goods, (first, second, cents - first - second), strict=True)
    ):
        y = top + 58 + place * 28
        pen.text((left + 12, y), good, font=_font(18), fill=_INK)
        _right(pen, left + 168, y, f"{price / 100:.2f}", 18)
    y = top + 154
    pen.line((left + 10, y, left + 170, y), fill=_INK, width=2)
    pen.text((left + 12, y + 14), "TOTAL", font=_font(26), fill=_INK)
    _right(pen, left + 170, y + 14, total, 26)
    return image


def _right(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int) -> None:
    pen.text((x - pen.textlength(text, font=_font(size)), y), text, font=_font(size), fill=_INK)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _bars(heights: list[float], colours: list[str], labels: list[str]) -> Image.Image:
    """Return a bar chart; heights from 0 to 1."""
    image = Image.new("RGB", (SIDE, SIDE), _PAPER)
    pen = ImageDraw.Draw(image)
    floor, width = SIDE - 44, (SIDE - 40) / len(heights)
    pen.line((20, floor, SIDE - 16, floor), fill=_INK, width=3)
    for place, (height, colour, label) in enumerate(zip(heights, colours, labels, strict=True)):
        x = 24 + place * width
        box = (x + 4, floor - 12 - height * (SIDE - 76), x + width - 8, floor)
        pen.rectangle(box, fill=COLOURS[colour])
        middle = x + width / 2 - 2 - pen.textlength(label, font=_font(18)) / 2
        pen.text((middle, floor + 8), label, font=_font(18), fill=_INK)
    return image


def _highest(random: Random, bars: int, place: int) -> list[float]:
    heights = [random.uniform(0.05, 0.6) for _ in range(bars)]
    heights[place] = random.uniform(0.85, 1.0)
    return heights


def _chart_label(random: Random, answer: str) -> Image.Image:
    colour = random.choice(tuple(COLOURS))
    heights = _highest(random, len(_MONTHS), _MONTHS.index(answer))
    return _bars(heights, [colour] * len(_MONTHS), list(_MONTHS))


def _chart_colour(random: Random, answer: str) -> Image.Image:
    colours = [answer, *random.sample([c for c in COLOURS if c != answer], 3)]
    random.shuffle(colours)
    return _bars(_highest(random, 4, colours.index(answer)), colours, list("1234"))


def _trend(random: Random, answer: str) -> Image.Image:
    heights = sorted(random.uniform(0.05, 1.0) for _ in range(5))
    if answer == "falling":
        heights.reverse()
    elif answer == "mixed":
        heights = [heights[place] for place in random.choice(((4, 1, 0, 2, 3), (0, 2, 4, 3, 1)))]
    return _bars(heights, [random.choice(tuple(COLOURS))] * 5, list("12345"))


def _quick_bars(random: Random, answer: str) -> Image.Image:
    count = int(answer)
    heights = [random.uniform(0.2, 1.0) for _ in range(count)]
    colour = random.choice(tuple(COLOURS))
    return _bars(heights, [colour] * count, [str(n + 1) for n in range(count)])


def _total(random: Random, answer: str) -> Image.Image:
    return _receipt(random, random.choice(_MERCHANTS), answer)


def _merchant(random: Random, answer: str) -> Image.Image:
    return _receipt(random, answer, random.choice(_TOTALS))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "charts",
            "Bar charts of six months: which is the highest.",
            _MONTHS,
            (
                "Which month is the highest?",
                "In which month is the bar the tallest?",
                "Name the month with the largest value.",
                "What is the best month in this chart?",
            ),
            _chart_label,
        ),
        Task(
            "bars",
            "Bar charts: how many bars.",
            ("2", "3", "4", "5", "6"),
            ("How many bars are there?", "Count the bars.", "How many values does the chart show?"),
            _quick_bars,
        ),
        Task(
            "trend",
            "Bar charts: rising, falling or neither.",
            ("rising", "falling", "mixed"),
            ("What is the trend?", "Where does this chart go?", "Rising, falling or mixed?"),
            _trend,
        ),
        Task(
            "sorting",
            "A sorting table: which bin a coloured part goes to, which no model can know.",
            tuple(BINS.values()),
            (
                "Which bin does this part go to?",
                "Sort this part.",
                "Where do I put this one?",
                "Name the bin for this part.",
            ),
            _part,
        ),
        Task(
            "totals",
            "Till receipts: the total.",
            _TOTALS,
            ("What is the total?", "How much was paid?", "Read the total of this receipt."),
            _total,
        ),
        Task(
            "merchants",
            "Till receipts: the shop.",
            _MERCHANTS,
            ("Which shop is this receipt from?", "Who is the merchant?", "Name the shop."),
            _merchant,
        ),
    )
}
