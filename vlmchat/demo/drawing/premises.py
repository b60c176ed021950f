"""Questions that take something for granted that is not drawn, and some where it is.

Three quarters ask for what is not there; the answer says so. The rest are of the same kind with a
right premise, so that saying no is not always right.
"""

from random import Random

from vlmchat.demo.drawing import charts, things, wording
from vlmchat.demo.drawing.facts import Asked, Chart, Clip, Lettering, Pair, Scene, Thing
from vlmchat.demo.pictures import COLOURS, OUTLINES

Premised = Scene | Chart | Thing | Lettering | Pair | Clip
"""What questions may be wrong about."""
TRUE = 0.25
"""The share of questions whose premise is right."""
_STRANGERS = (
    "dog", "cat", "horse", "bird", "tree", "car", "house", "apple", "fish", "cow", "bus", "cup",
    "bicycle", "flower", "banana", "train", "clock", "pizza", "guitar", "hat",
)  # fmt: skip


def ask(facts: Premised, random: Random) -> Asked:
    """Return a question whose premise is mostly wrong."""
    right = random.random() < TRUE
    match facts:
        case Scene():
            asked = _scene(facts, random, right)
        case Chart():
            asked = _chart(facts, random, right)
        case Thing():
            asked = _thing(facts, random, right)
        case Lettering():
            asked = _lettering(facts, random, right)
        case Pair() | Clip():
            asked = _several(facts, random, right)
    return Asked("premise", *asked)


def question(random: Random) -> str:
    """Return a question about something, whether it is there or not."""
    if random.random() < 0.25:
        return _elsewhere(random, ("text", "chart"))[0]
    return _wrong(random, random.choice((*_STRANGERS, *OUTLINES)))[0]


def _no(name: str, where: str = "picture") -> str:
    verb = "are" if wording.several(name) else "is"
    return f"There {verb} no {name} in the {where}."


def _yes(name: str, where: str = "picture") -> str:
    verb = "are" if wording.several(name) else "is"
    return f"Yes, there {verb} {wording.named(name)} in the {where}."


def _is_there(name: str, where: str = "picture") -> str:
    verb = "Are" if wording.several(name) else "Is"
    return f"{verb} there {wording.named(name)} in the {where}?"


def _attribute(random: Random, name: str) -> str:
    """Return a question that takes a thing for granted."""
    colour = random.choice(("color", "colour"))
    verb = "are" if wording.several(name) else "is"
    return random.choice(
        (
            f"What {colour} {verb} the {name}?",
            f"What is the {colour} of the {name}?",
            f"Where {verb} the {name}?",
            f"How big {verb} the {name}?",
        )
    )


def _wrong(random: Random, name: str, where: str = "picture") -> tuple[str, str]:
    """Return a question about something that is not there, and the answer."""
    if random.random() < 0.3:
        verb = "are" if wording.several(name) else "is"
        return _is_there(name, where), f"No, there {verb} no {name} in the {where}."
    return _attribute(random, name), _no(name, where)


def _scene(scene: Scene, random: Random, right: bool) -> tuple[str, str]:
    shapes = [one.shape for one in scene.objects]
    if right and shapes:
        name = random.choice(shapes)
        several = shapes.count(name) > 1
        counted = wording.counted(shapes.count(name), name) if several else wording.named(name)
        verb = "are" if several else "is"
        return _is_there(name), f"Yes, there {verb} {counted} in the picture."
    pick = random.random()
    if pick < 0.45:
        return _wrong(random, random.choice([name for name in OUTLINES if name not in shapes]))
    if pick < 0.6:
        taken = {one.colour for one in scene.objects}
        colour = random.choice([name for name in COLOURS if name not in taken])
        question = random.choice((f"What shape is {colour}?", f"Where is the {colour} shape?"))
        return question, f"There is nothing {colour} in the picture."
    if pick < 0.72:
        return _elsewhere(random, ("text", "chart"))
    return _wrong(random, random.choice(_STRANGERS))


def _elsewhere(random: Random, kinds: tuple[str, ...]) -> tuple[str, str]:
    """Return a question for another kind of picture."""
    if random.choice(kinds) == "text":
        question = random.choice(("What does the text say?", "Read the text in the picture."))
        return question, "There is no text in the picture."
    label = random.choice(charts.LABELS)
    question = random.choice(
        (
            "Which bar is the highest?",
            "What is the highest value?",
            f"What is the value of {label}?",
        )
    )
    return question, "There is no chart in the picture."


def _chart(chart: Chart, random: Random, right: bool) -> tuple[str, str]:
    pick = random.random()
    if right or pick < 0.6:
        absent = [label for label in charts.LABELS if label not in chart.labels]
        if random.random() < 0.3:
            absent = [f"Q{number}" for number in range(5, 10)]
        label = random.choice(chart.labels if right else absent)
        if random.random() < 0.4 or right:
            answer = f"Yes, there is {label} in the chart."
            return f"Is there {label} in the chart?", (
                answer if right else f"No, there is no {label} in the chart."
            )
        question = random.choice((f"What is the value of {label}?", f"How much is {label}?"))
        return question, f"There is no {label} in the chart."
    return _wrong(random, random.choice((*_STRANGERS, *OUTLINES)))


def _thing(thing: Thing, random: Random, right: bool) -> tuple[str, str]:
    if right:
        return _is_there(thing.name), _yes(thing.name)
    pick = random.random()
    if pick < 0.2:
        return _elsewhere(random, ("text", "chart"))
    if pick < 0.3:
        return _wrong(random, random.choice([name for name in OUTLINES if name != thing.name]))
    known = {thing.name, *thing.others}
    others = [one.name for one in things.listed() if not known & {one.name, *one.others}]
    return _wrong(random, random.choice(others))


def _lettering(lettering: Lettering, random: Random, right: bool) -> tuple[str, str]:
    if right:
        return "Is there a text in the picture?", "Yes, there is a text in the picture."
    if random.random() < 0.3:
        return _elsewhere(random, ("chart",))
    names = (*_STRANGERS, *OUTLINES)
    return _wrong(random, random.choice([one for one in names if one not in lettering.text]))


def _several(facts: Pair | Clip, random: Random, right: bool) -> tuple[str, str]:
    where = "video" if isinstance(facts, Clip) else "pictures"
    scenes = facts.frames if isinstance(facts, Clip) else (facts.first, facts.second)
    shapes = list(dict.fromkeys(one.shape for scene in scenes for one in scene.objects))
    if right:
        name = random.choice(shapes)
        return _is_there(name, where), f"Yes, there is {wording.named(name)} in the {where}."
    names = [name for name in (*OUTLINES, *_STRANGERS) if name not in shapes]
    return _wrong(random, random.choice(names), where)
