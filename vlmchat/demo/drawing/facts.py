"""What a drawn picture shows: the truth that captions, questions and answers are made from."""

from dataclasses import dataclass

from PIL import Image

COLUMNS = ("left", "center", "right")
"""The thirds of a picture from left to right."""
ROWS = ("top", "middle", "bottom")
"""The thirds of a picture from top to bottom."""
BAR = "bar"
"""What the mark of a chart's bar says."""
FORMS = ("round", "straight", "soft")
"""What stands out in a photograph: round things, straight edges, areas without edges."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A shape of a scene.

    Attributes:
        shape: a key of `pictures.OUTLINES`.
        colour: a key of `pictures.COLOURS`.
        column: 0…2, the third of the picture that its centre is in, from the left.
        row: 0…2, from the top.
        x: centre, pixels from the left.
        y: centre, pixels from the top.
        radius: half the extent, pixels.
    """

    shape: str
    colour: str
    column: int
    row: int
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Shapes on a background, at most six, each in a third × third of its own.

    Attributes:
        objects: by column from the left, within a column by row from the top.
    """

    objects: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A bar chart.

    Attributes:
        labels: one word under each bar, from the left.
        values: whole numbers, 0 < value ≤ `top`, at most 99.
        colours: of the bars, keys of `pictures.COLOURS`.
        printed: each bar's value stands above it.
        top: the value at the upper end of the axis.
        tick: the distance of two numbers on the axis.
        title: above the bars; may be empty.
    """

    labels: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[str, ...]
    printed: bool
    top: int
    tick: int
    title: str = ""

    @property
    def precision(self) -> float:
        """How far off a value that is read from the axis may be: half a tick; printed ones: 0."""
        return 0.0 if self.printed else self.tick / 2

    @property
    def highest(self) -> int:
        """The place of the highest bar."""
        return self.values.index(max(self.values))

    @property
    def lowest(self) -> int:
        """The place of the lowest bar."""
        return self.values.index(min(self.values))


@dataclass(frozen=True, slots=True)
class Lettering:
    """A text: one or two words, or a number; at most 16 characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of words, more than anybody would say: what letters are learned from.

    Attributes:
        lines: as they stand below each other.
    """

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Thing:
    """A pictured object.

    Attributes:
        name: what a person would call it, without an article.
        others: names that are right as well.
        colour: its one main colour, a key of `canvas.PAPERS` or `brown`; empty where it has none.
        background: the colour behind it, a key of `canvas.PAPERS`; empty where it has no one name.
    """

    name: str
    others: tuple[str, ...]
    colour: str
    background: str


@dataclass(frozen=True, slots=True)
class Photo:
    """What looks like a photograph, of nothing that has a name.

    Attributes:
        colours: of most of it and of the forms in it, keys of `photos.TONES`.
        forms: one of `FORMS`.
    """

    colours: tuple[str, str]
    forms: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two scenes side by side in a conversation.

    Attributes:
        first: the first picture.
        second: the second one.
        change: `colour`, `shape`, `added` or `gone` where the second is the first with one
            change; empty where they are scenes of their own.
        before: the shape that changed or went, None where one was added.
        after: what it became, or what was added; None where one went.
    """

    first: Scene
    second: Scene
    change: str = ""
    before: Placed | None = None
    after: Placed | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames of a short film, four to eight.

    Attributes:
        frames: what each shows.
        motion: `left`, `right`, `up` or `down`: where the only shape goes; empty where shapes
            appear one after another.
        order: the shapes in the order in which they appear; of a motion the one that moves.
    """

    frames: tuple[Scene, ...]
    motion: str
    order: tuple[Placed, ...]


Picture = Scene | Chart | Lettering | Page | Thing | Photo
"""What one picture shows."""
Facts = Picture | Pair | Clip
"""What a picture, a pair or a clip shows."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands at one place of a picture: a shape, a character, a word, a number or a bar.

    Attributes:
        says: a shape's name, the character, word or number itself, or `BAR`.
        box: left, top, right and bottom, pixels.
        order: its number among its like, as they are read, from 0; of a letter its place in the
            caption, on a page in its word; -1 where that says nothing.
        colour: of a shape or a bar, a key of `pictures.COLOURS`; else empty.
    """

    says: str
    box: tuple[float, float, float, float]
    order: int = -1
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture with what it shows.

    Attributes:
        image: RGB, `canvas.SIDE` × `canvas.SIDE` pixels.
        facts: the truth about it.
        marks: what stands where, as far as it is known; later ones lie over earlier ones.
    """

    image: Image.Image
    facts: Picture
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several pictures with what they show together.

    Attributes:
        images: RGB, `canvas.SIDE` × `canvas.SIDE` pixels each.
        frames: they are frames of one film, else pictures of their own.
        facts: the truth about them.
    """

    images: tuple[Image.Image, ...]
    frames: bool
    facts: Pair | Clip


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about what is drawn.

    Attributes:
        task: one of `examples.TASKS`.
        question: what a person asks.
        answer: what is right, as a person would say it.
    """

    task: str
    question: str
    answer: str
