"""Bar charts: three to six labelled bars, an axis with numbers, values printed or not.

The highest bar is at least `CLEAR` of the axis above the second, the lowest as much below the
next, so that which they are can be seen. Where values are not printed they are multiples of a
twentieth of the axis, and reading them is right within half the distance of two axis numbers.
"""

from random import Random

from PIL import Image, ImageDraw

from vlmchat.demo.drawing import canvas, sources
from vlmchat.demo.drawing.facts import BAR, Chart, Drawing, Mark

CLEAR = 0.05
QUARTERS = ("Q1", "Q2", "Q3", "Q4")
ORDERED = (
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    QUARTERS,
    ("A", "B", "C", "D", "E", "F", "G", "H"),
    ("North", "East", "South", "West"),
)
"""Labels that stand in this order, a run of them in each chart."""
MIXED = (
    ("Tea", "Milk", "Rice", "Corn", "Beef", "Fish", "Eggs", "Wine", "Beer", "Salt", "Soup"),
    ("Bus", "Car", "Train", "Ship", "Oil", "Gas", "Coal", "Wind", "Gold", "Iron", "Wood"),
    ("Ann", "Bob", "Tom", "Eve", "Max", "Leo", "Sam", "Kim", "Ben", "Amy", "Joe"),
    ("Rome", "Paris", "Art", "Math", "Music", "Sport", "Rain", "Snow", "Sun"),
    ("Cat", "Dog", "Bird", "Home", "Work", "Play", "Food", "Water"),
)
"""Labels in any order; each is one token of the text model, as are all but the quarters."""
LABELS = tuple(dict.fromkeys(label for group in (*ORDERED, *MIXED) for label in group))
TITLES = ("Sales", "Results", "Total", "Score", "Survey", "Output", "Report", "Visitors", "Orders")
_SCALES = ((100, 20), (100, 20), (100, 25), (100, 10), (50, 10), (20, 5), (10, 2))
_INK: canvas.Colour = (30, 30, 34)


def draw(random: Random, level: float) -> Drawing:
    """Return a chart: 3 or 4 bars of months with printed values at level 0, any at level 1."""
    chart = compose(random, level)
    image, marks = _paint(random, level, chart)
    return Drawing(canvas.weathered(random, level * 0.5, image), chart, tuple(marks))


def compose(random: Random, level: float) -> Chart:
    """Return what a chart shows."""
    labels = _labels(random, level, canvas.whole(random, level, (3, 3), (3, 6)))
    top, tick = _SCALES[0] if random.random() > level else random.choice(_SCALES)
    printed = random.random() >= 0.3 * level
    if random.random() < 0.4:
        colours = [random.choice(tuple(canvas.COLOURS))] * len(labels)
    else:
        colours = [random.choice(tuple(canvas.COLOURS)) for _ in labels]
    title = random.choice(TITLES) if random.random() < 0.5 * level else ""
    values = _values(random, len(labels), top, printed)
    return Chart(labels, values, tuple(colours), printed, top, tick, title)


def _labels(random: Random, level: float, count: int) -> tuple[str, ...]:
    if random.random() < 0.5 * level:
        return tuple(random.sample(random.choice(MIXED), count))
    group = random.choice([group for group in ORDERED if len(group) >= count])
    start = random.randrange(len(group) - count + 1)
    return group[start : start + count]


def _values(random: Random, count: int, top: int, printed: bool) -> tuple[int, ...]:
    """Return values that `CLEAR` holds for."""
    step = 1 if printed else max(1, top // 20)
    most = (min(top, 99)) // step
    gap = CLEAR * top / step
    while True:
        values = [random.randint(1, most) * step for _ in range(count)]
        lowest, second, *_ = ranked = sorted(values)
        if min(second - lowest, ranked[-1] - ranked[-2]) >= gap * step:
            return tuple(values)


def _paint(random: Random, level: float, chart: Chart) -> tuple[Image.Image, list[Mark]]:
    paper = canvas.shaken(random, (248, 248, 246), round(2 + 5 * level))
    image = Image.new("RGB", (canvas.SIDE, canvas.SIDE), paper)
    pen = ImageDraw.Draw(image)
    path = random.choice(sources.plain_fonts() or ("",)) if random.random() < level else _first()
    left = 30 + random.randint(0, round(6 * level))
    right = canvas.SIDE - 4 - random.randint(0, round(8 * level))
    floor = canvas.SIDE - 26 - random.randint(0, round(6 * level))
    ceiling = (44 if chart.title else 26) + random.randint(0, round(8 * level))
    marks = []
    if chart.title:
        box = canvas.write(image, ((left + right) / 2, 13), chart.title, path, 16, _INK)
        marks.append(Mark(chart.title, box))
    grid = random.random() < 0.6
    for mark in range(0, chart.top + 1, chart.tick):
        y = round(floor - (floor - ceiling) * mark / chart.top)
        if grid:
            pen.line((left, y, right, y), fill=tuple(part - 34 for part in paper))
        pen.line((left - 3, y, left, y), fill=_INK)
        box = canvas.write(image, (left - 5, y), str(mark), path, 12, _INK, "rm")
        marks.append(Mark(str(mark), box))
    pen.line((left, ceiling, left, floor), fill=_INK)
    pen.line((left, floor, right, floor), fill=_INK)
    marks += _bars(random, level, image, chart, path, (left, ceiling, right, floor))
    return image, marks


def _first() -> str:
    return (sources.plain_fonts() or ("",))[0]


def _bars(
    random: Random,
    level: float,
    image: Image.Image,
    chart: Chart,
    path: str,
    box: tuple[int, int, int, int],
) -> list[Mark]:
    """Draw the bars with labels and values into `box` (left, top, right, bottom)."""
    left, ceiling, right, floor = box
    step = (right - left) / len(chart.labels)
    share = canvas.between(random, level, (0.62, 0.62), (0.5, 0.78))
    size = round(canvas.between(random, level, (16, 16), (12, 16)))
    named = canvas.fitting_size(path, chart.labels, size, step - 2, 12)
    valued = round(canvas.between(random, level, (18, 18), (14, 18)))
    pen, marks = ImageDraw.Draw(image), []
    shade = {name: canvas.shaken(random, canvas.COLOURS[name], 8) for name in canvas.COLOURS}
    for place, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        middle = left + step * (place + 0.5)
        y = round(floor - (floor - ceiling) * value / chart.top)
        half = step * share / 2
        bar = (round(middle - half), y, round(middle + half), floor - 1)
        pen.rectangle(bar, fill=shade[chart.colours[place]])
        marks.append(Mark(BAR, bar, place, chart.colours[place]))
        below = canvas.write(image, (middle, floor + 13), label, path, named, _INK)
        marks.append(Mark(label, below, place))
        if chart.printed:
            above = canvas.write(image, (middle, y - 10), str(value), path, valued, _INK)
            marks.append(Mark(str(value), above, place))
    return marks
