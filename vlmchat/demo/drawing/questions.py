"""Questions about what is drawn, with the answers a person would give.

`ask` returns at least one question of every task that the facts allow; what would have more than
one right answer (the colour of one of two circles) is not asked. Both spellings are used in
questions; answers need neither.
"""

from random import Random

from vlmchat.demo.drawing import premises, sequences, wording
from vlmchat.demo.drawing.charts import CLEAR
from vlmchat.demo.drawing.facts import (
    Asked,
    Chart,
    Clip,
    Facts,
    Lettering,
    Page,
    Pair,
    Photo,
    Placed,
    Scene,
    Thing,
)
from vlmchat.demo.pictures import OUTLINES


def ask(facts: Facts, random: Random) -> list[Asked]:
    """Return questions about a picture, a pair or a clip.

    Of what looks like a photograph anything may be asked: the answer is the same. Of a page nothing
    is.
    """
    match facts:
        case Scene():
            asked = _scene(facts, random)
        case Chart():
            asked = _chart(facts, random)
        case Lettering():
            asked = [Asked("text", random.choice(_TEXT), f"The text says {facts.text}.")]
        case Thing():
            asked = _thing(facts, random)
        case Pair():
            asked = _pair(facts, random)
        case Clip():
            asked = _clip(facts, random)
        case Photo():
            return [_photo(facts, random)]
        case Page():
            return []
    return [*asked, premises.ask(facts, random)]


_TEXT = (
    "What does the text say?",
    "Read the text in the picture.",
    "What is written here?",
    "What does it say?",
    "What text is shown in the image?",
    "Which words or numbers can you read?",
    "Please read this to me.",
)
_OBJECT = (
    "What is in the picture?",
    "What is this?",
    "What does the image show?",
    "What do you see?",
    "What is shown here?",
    "Name the object in the picture.",
    "Describe the picture.",
    "What can be seen in the image?",
)
_DESCRIBE = (
    "Describe the picture.",
    "Describe the image.",
    "What is in the picture?",
    "What do you see?",
    "What does the picture show?",
    "What can be seen in this image?",
    "Tell me what is drawn here.",
)

# Photographs -----------------------------------------------------------------------------------


def _photo(photo: Photo, random: Random) -> Asked:
    general = random.random() < 0.6
    question = random.choice((*_OBJECT, *_DESCRIBE)) if general else premises.question(random)
    return Asked("photo", question, wording.photograph(photo))


# Scenes ----------------------------------------------------------------------------------------


def _scene(scene: Scene, random: Random) -> list[Asked]:
    asked = [
        *_colours(scene, random),
        *_shapes(scene, random),
        _count(scene, random),
        *_positions(scene, random),
        Asked("describe", random.choice(_DESCRIBE), wording.description(scene)),
    ]
    random.shuffle(asked)
    return asked


def _alone(scene: Scene, attribute: str) -> list[Placed]:
    """Return the shapes whose colour (or shape) no other shape has."""
    values = [getattr(one, attribute) for one in scene.objects]
    return [one for one in scene.objects if values.count(getattr(one, attribute)) == 1]


def _spot(scene: Scene, random: Random) -> tuple[Placed, str] | None:
    """Return a shape with a place that no other shape can be meant by."""
    spots = []
    for one in scene.objects:
        column = [other for other in scene.objects if other.column == one.column]
        row = [other for other in scene.objects if other.row == one.row]
        if one.row != 1 or one.column == 1 or len(column) == 1:
            spots.append((one, wording.place(one)))
        if len(column) == 1 and one.column != 1:
            spots.append((one, ("on the left", "", "on the right")[one.column]))
        if len(row) == 1 and one.row != 1:
            spots.append((one, ("at the top", "", "at the bottom")[one.row]))
    return random.choice(spots) if spots else None


def _colours(scene: Scene, random: Random) -> list[Asked]:
    asked = []
    colour = random.choice(("color", "colour"))
    if alone := _alone(scene, "shape"):
        one = random.choice(alone)
        question = random.choice(
            (
                f"What {colour} is the {one.shape}?",
                f"Which {colour} does the {one.shape} have?",
                f"Tell me the {colour} of the {one.shape}.",
                f"What is the {colour} of the {one.shape}?",
            )
        )
        asked.append(Asked("colour", question, f"The {one.shape} is {one.colour}."))
    if random.random() < 0.4 and (spot := _spot(scene, random)):
        one, where = spot
        question = f"What {colour} is the shape {where}?"
        asked.append(Asked("colour", question, f"The shape {where} is {one.colour}."))
    return asked


def _shapes(scene: Scene, random: Random) -> list[Asked]:
    asked = []
    if alone := _alone(scene, "colour"):
        one = random.choice(alone)
        question = random.choice(
            (
                f"What shape is {one.colour}?",
                f"Which shape is {one.colour}?",
                f"What is the {one.colour} shape?",
                f"What kind of shape is the {one.colour} one?",
            )
        )
        named = wording.named(one.shape)
        asked.append(Asked("shape", question, f"The {one.colour} shape is {named}."))
    if random.random() < 0.4 and (spot := _spot(scene, random)):
        one, where = spot
        question = random.choice((f"What shape is {where}?", f"Which shape is {where}?"))
        named = wording.named(one.shape)
        asked.append(Asked("shape", question, f"The shape {where} is {named}."))
    return asked


def _count(scene: Scene, random: Random) -> Asked:
    pick = random.random()
    if pick < 0.4 or not scene.objects:
        named, answer = "shape", wording.there(len(scene.objects), "shape")
    elif pick < 0.6:
        colour = random.choice(scene.objects).colour
        named = f"{colour} shape"
        answer = wording.each([one for one in scene.objects if one.colour == colour], named)
    else:
        shapes = tuple(OUTLINES) if pick < 0.68 else [one.shape for one in scene.objects]
        named = random.choice(shapes)
        answer = wording.each([one for one in scene.objects if one.shape == named], named)
    several = wording.plural(named)
    question = random.choice(
        (
            f"How many {several} are there?",
            f"How many {several} are in the picture?",
            f"Count the {several}.",
            f"How many {several} do you see?",
            f"What is the number of {several}?",
        )
    )
    return Asked("count", question, f"{answer}.")


def _positions(scene: Scene, random: Random) -> list[Asked]:
    named = [(one, name) for one in scene.objects if (name := wording.shortest(scene, one))]
    if not named:
        return []
    one, name = random.choice(named)
    question = random.choice(
        (f"Where is the {name}?", f"Where in the picture is the {name}?", f"Locate the {name}.")
    )
    asked = [Asked("position", question, f"The {name} is {wording.place(one)}.")]
    if len(named) > 1:
        (first, name), (second, other) = random.sample(named, 2)
        pairs = [("left of", "right of")] if first.column != second.column else []
        pairs += [("above", "below")] if first.row != second.row else []
        way = random.choice(pairs)
        before = first.column < second.column if "left of" in way else first.row < second.row
        true = way[0] if before else way[1]
        said = random.choice(way)
        long = f"to the {said}" if said.endswith("of") and random.random() < 0.5 else said
        # What is seen comes first, then what follows from it, and then whether that was asked: a
        # small model cannot compare two places before it has named them.
        here, there = wording.third(first, said), wording.third(second, said)
        seen = f"The {name} is {here} and the {other} {there}"
        answer = f"{seen}, so it is {true} the {other}: {_yes(said == true)}."
        asked.append(Asked("position", f"Is the {name} {long} the {other}?", answer))
    return asked


# Charts and things -----------------------------------------------------------------------------

_LARGEST = (
    "What is the highest value?",
    "How high is the highest bar?",
    "What is the maximum of the chart?",
    "How much is the largest value?",
)
_SMALLEST = (
    "What is the lowest value?",
    "How high is the lowest bar?",
    "What is the minimum of the chart?",
)


def _chart(chart: Chart, random: Random) -> list[Asked]:
    high, low = chart.highest, chart.lowest
    place = random.randrange(len(chart.labels))
    label, value = chart.labels[place], chart.values[place]
    largest, smallest = random.choice(_LARGEST), random.choice(_SMALLEST)
    asked = [
        Asked("chart-label", _highest(random), f"The highest bar is {chart.labels[high]}."),
        Asked("chart-label", _lowest(random), f"The lowest bar is {chart.labels[low]}."),
        Asked("chart-value", largest, f"The highest value is {chart.values[high]}."),
        Asked("chart-value", smallest, f"The lowest value is {chart.values[low]}."),
        Asked("chart-value", _value(random, label), f"The value of {label} is {value}."),
        *_compared(chart, random),
    ]
    if random.random() < 0.3:
        question = random.choice(("How many bars are there?", "How many bars does the chart have?"))
        asked.append(Asked("chart-label", question, f"There are {len(chart.labels)} bars."))
    if random.random() < 0.3:
        question = random.choice(("Describe the picture.", "Describe the chart."))
        answer = (
            f"A bar chart with {len(chart.labels)} bars: the highest is {chart.labels[high]} and "
            f"the lowest is {chart.labels[low]}."
        )
        asked.append(Asked("chart-label", question, answer))
    random.shuffle(asked)
    return asked


def _highest(random: Random) -> str:
    return random.choice(
        (
            "Which label is highest?",
            "Which bar is the highest?",
            "Which bar is the tallest?",
            "Which label has the highest value?",
            "What has the largest value?",
            "Which one is the best?",
        )
    )


def _lowest(random: Random) -> str:
    return random.choice(
        (
            "Which label is lowest?",
            "Which bar is the lowest?",
            "Which bar is the shortest?",
            "Which label has the lowest value?",
            "What has the smallest value?",
        )
    )


def _value(random: Random, label: str) -> str:
    return random.choice(
        (
            f"What is the value of {label}?",
            f"How much is {label}?",
            f"What value does {label} have?",
            f"How high is {label}?",
        )
    )


def _compared(chart: Chart, random: Random) -> list[Asked]:
    """Return whether one bar is higher than another, if that can be seen: its value first."""
    first, second = random.sample(range(len(chart.labels)), 2)
    if abs(chart.values[first] - chart.values[second]) < CLEAR * chart.top:
        return []
    one, other = chart.labels[first], chart.labels[second]
    true = "higher" if chart.values[first] > chart.values[second] else "lower"
    said = random.choice(("higher", "lower"))
    here, there = (chart.values[place] for place in (first, second))
    answer = f"{one} is {here} and {other} {there}, so {one} is {true}: {_yes(said == true)}."
    return [Asked("chart-label", f"Is {one} {said} than {other}?", answer)]


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _thing(thing: Thing, random: Random) -> list[Asked]:
    colour = random.choice(("color", "colour"))
    asked = [
        Asked("object", random.choice(_OBJECT), f"The picture shows {wording.named(thing.name)}.")
    ]
    if thing.colour and random.random() < 0.5:
        verb = "are" if wording.several(thing.name) else "is"
        question = f"What {colour} {verb} the {thing.name}?"
        asked.append(Asked("colour", question, f"The {thing.name} {verb} {thing.colour}."))
    if thing.background and random.random() < 0.3:
        question = f"What {colour} is the background?"
        asked.append(Asked("colour", question, f"The background is {thing.background}."))
    return asked


# Several pictures ------------------------------------------------------------------------------


def _pair(pair: Pair, random: Random) -> list[Asked]:
    if pair.change:
        asked = [Asked("pair", random.choice(_CHANGED), f"{_change(pair)}.")]
    else:
        shape, which = random.choice(tuple(sequences.more(pair).items()))
        several = wording.plural(shape)
        question = random.choice(
            (
                f"Which picture has more {several}?",
                f"Which image has more {several}?",
                f"Where are more {several}, in the first or the second picture?",
                f"In which picture are there more {several}?",
            )
        )
        name = ("first", "second")[which]
        asked = [Asked("pair", question, f"The {name} picture has more {several}.")]
    which = random.randrange(2)
    name, scene = (("first", pair.first), ("second", pair.second))[which]
    if random.random() < 0.3:
        question = f"How many shapes are in the {name} picture?"
        count = wording.there(len(scene.objects), "shape")
        asked.append(Asked("pair", question, f"{count} in the {name} picture."))
    return asked


_CHANGED = (
    "What changed?",
    "What has changed between the two pictures?",
    "What is different in the second picture?",
    "Find the difference between these pictures.",
    "What is the difference?",
)


def _change(pair: Pair) -> str:
    before, after = pair.before, pair.after
    if before is None:
        assert after is not None
        return f"There is a new {wording.full(after)}"
    if after is None:
        return f"The {wording.full(before)} is gone"
    new = after.colour if pair.change == "colour" else wording.named(after.shape)
    return f"The {wording.full(before)} is now {new}"


def _clip(clip: Clip, random: Random) -> list[Asked]:
    if clip.motion:
        [one] = clip.order
        name = "ball" if one.shape == "circle" and random.random() < 0.7 else one.shape
        way = f"to the {clip.motion}" if clip.motion in {"left", "right"} else clip.motion
        question = random.choice(
            (
                f"Which way does the {name} move?",
                f"In which direction does the {name} move?",
                f"Where does the {name} go?",
                f"Which way is the {name} moving?",
            )
        )
        colour = random.choice(("color", "colour"))
        asked = [Asked("clip", question, f"The {name} moves {way}.")]
        if random.random() < 0.25:
            answer = f"The {name} is {one.colour}."
            asked.append(Asked("clip", f"What {colour} is the {name}?", answer))
        return asked
    first, last = wording.full(clip.order[0]), wording.full(clip.order[-1])
    end = wording.there(len(clip.order), "shape")
    asked = [
        Asked("clip", random.choice(("What appears last?", "Which shape appears last?",
                                     "What comes last in the video?")),
              f"The {last} appears last."),
        Asked("clip", random.choice(("What appears first?", "Which shape appears first?",
                                     "What is there first in the video?")),
              f"The {first} appears first."),
    ]  # fmt: skip
    if random.random() < 0.4:
        asked.append(Asked("clip", "How many shapes are there at the end?", f"{end} at the end."))
    random.shuffle(asked)
    return asked
