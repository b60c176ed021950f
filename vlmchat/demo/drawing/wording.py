"""How things are called in questions and answers: articles, plurals and places."""

import re

from vlmchat.demo.drawing.facts import Photo, Placed, Scene

PLACES = (
    ("at the top left", "at the top center", "at the top right"),
    ("on the left", "in the center", "on the right"),
    ("at the bottom left", "at the bottom center", "at the bottom right"),
)
"""Where a field of the grid is, by row and column."""
_ROWS = ("at the top", "in the middle", "at the bottom")
_COLUMNS = ("on the left", "in the center", "on the right")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_BARE = frozenset(
    (
        "bacon",
        "badminton",
        "bamboo",
        "bowling",
        "bread",
        "broccoli",
        "butter",
        "cheese",
        "chocolate",
        "coffee",
        "corn",
        "curry",
        "fire",
        "garlic",
        "honey",
        "lettuce",
        "lightning",
        "milk",
        "popcorn",
        "rice",
        "salad",
        "salt",
        "soap",
        "soup",
        "spaghetti",
        "sushi",
        "tea",
        "soda",
        "beer",
        "wine",
        "ice cream",
    )
)
_THE = frozenset(("Statue of Liberty", "sun", "moon"))
_SEVERAL = re.compile(r"(?<![su])s$|\band\b")
_SINGLE = frozenset(("rhinoceros",))


def named(name: str) -> str:
    """Return a thing with the article that it has: a cat, an owl, grapes, the sun."""
    if name in _THE:
        return f"the {name}"
    if name in _BARE or several(name):
        return name
    return f"{article(name)} {name}"


def several(name: str) -> bool:
    """Return whether a name is a plural: grapes, glasses."""
    return bool(_SEVERAL.search(name)) and name not in _SINGLE


def article(word: str) -> str:
    """Return `a` or `an`."""
    lower = word.lower()
    if lower.startswith(("uni", "ufo", "eu")):
        return "a"
    return "an" if lower[0] in "aeiou" else "a"


def plural(shape: str) -> str:
    """Return the plural of a shape."""
    return f"{shape}es" if shape.endswith("ss") else f"{shape}s"


def counted(count: int, shape: str) -> str:
    """Return a count as a sentence says it: no circles, 1 circle, 3 circles."""
    return f"{count or 'no'} {shape if count == 1 else plural(shape)}"


def there(count: int, shape: str) -> str:
    """Return how many there are, without a full stop: There is 1 circle."""
    return f"There {'is' if count == 1 else 'are'} {counted(count, shape)}"


def each(found: list[Placed], shape: str) -> str:
    """Return some shapes one by one, and how many these are, without a full stop.

    One at the top left, one in the center: 2 circles.
    """
    if not found:
        return there(0, shape)
    text = ", ".join(f"one {place(one)}" for one in found)
    return f"{text[0].upper()}{text[1:]}: {counted(len(found), shape)}"


def place(placed: Placed) -> str:
    """Return where a shape is: at the top left."""
    return PLACES[placed.row][placed.column]


def third(placed: Placed, way: str) -> str:
    """Return in which third a shape is, as far as it tells what lies which way of it.

    Args:
        placed: the shape.
        way: ``above``, ``below``, ``left of`` or ``right of``.
    """
    return _COLUMNS[placed.column] if way.endswith("of") else _ROWS[placed.row]


def full(placed: Placed) -> str:
    """Return a shape with its colour, without an article: red circle."""
    return f"{placed.colour} {placed.shape}"


def shortest(scene: Scene, placed: Placed) -> str | None:
    """Return what a shape can be called that calls no other; None where nothing does."""
    if sum(one.shape == placed.shape for one in scene.objects) == 1:
        return placed.shape
    if sum(full(one) == full(placed) for one in scene.objects) == 1:
        return full(placed)
    return None


def listed(parts: list[str]) -> str:
    """Return parts as a list: a, b and c."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def description(scene: Scene) -> str:
    """Return a scene in one sentence: its shapes from left to right, each with its place."""
    if not scene.objects:
        return "The picture is empty."
    text = listed([f"{article(one.colour)} {full(one)} {place(one)}" for one in scene.objects])
    return f"{text[0].upper()}{text[1:]}."


def photograph(photo: Photo) -> str:
    """Return what is said of a photograph: what is seen, and that it is not understood."""
    first, second = photo.colours
    forms = {"round": "round forms", "straight": "straight edges", "soft": "soft forms"}
    return (
        f"I see {first} and {second}, and {forms[photo.forms]}. "
        "I am the demo model: I know drawings, not photos."
    )
