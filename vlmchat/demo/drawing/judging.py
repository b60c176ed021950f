"""Whether an answer is right. These rules were written before anything was trained.

1. Before two texts are compared both are put into one form: Unicode's compatibility form, lower
   case, white space as single spaces, quotation marks and the marks at the end gone, `colour`,
   `grey` and `centre` spelled the American way, number words up to ten as digits, and `no` before
   what is counted as 0.
2. An answer is right if it then equals the expected sentence, for every task but these:
3. chart-value: where values are printed in the chart rule 2 holds, but `about` does not count.
   Where they are not the sentence must be the expected one but for its number, which may be
   `facts.Chart.precision` off: half the distance of two numbers on the axis. So may the two values
   that a comparison of bars names before it says yes or no (chart-label).
4. object: another name of the thing (`others` of ``things.json``) is as right, and the article
   does not count.
5. describe: every fact must be right, their order is free. The sentence must name all shapes with
   colour and number, no more and no fewer; a place or a relation that it states must be true; and
   where the expected sentence states one, it must state one, too.
6. photo: the two colours may come in either order.

Nothing is right in part, and an answer that goes on after the expected one is wrong.

Later, the expected sentences of three questions were turned round: whether one thing is left of
(above, higher than) another is answered with where both are (how high), what follows, and yes or
no in the end instead of first; how many of a kind there are, with where each of them is, and the
number in the end; and a scene is described with the place of every shape. All three say more than
before, all of which has to be right.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from vlmchat.demo.drawing import wording
from vlmchat.demo.drawing.facts import Chart, Facts, Photo, Placed, Scene, Thing
from vlmchat.demo.pictures import COLOURS, OUTLINES

_SPELLINGS = {"colour": "color", "grey": "gray", "centre": "center", "colours": "colors"}
_DIGITS = {word: str(number) for number, word in enumerate(wording.NUMBERS) if number}
_NUMBER = re.compile(r"\d+")
_COMPARISON = re.compile(r"(.+) is (\d{1,3}) and (.+) (\d{1,3}), so (.+: (?:yes|no))")
_SHAPES = {form: shape for shape in OUTLINES for form in (shape, wording.plural(shape))}
_GROUP = re.compile(
    rf"(?:(a|an|\d+) )?\b({'|'.join(COLOURS)}) ({'|'.join(sorted(_SHAPES, key=len)[::-1])})\b"
)
_PLACES = {place: (row, column) for row, line in enumerate(wording.PLACES)
           for column, place in enumerate(line)}  # fmt: skip
_PLACE = rf"({'|'.join(_PLACES)})"
_RELATIONS = ("above", "below", "to the left of", "to the right of")
_Group: TypeAlias = tuple[Placed, ...]


def right(task: str, facts: Facts, answer: str, said: str) -> bool:
    """Return whether `said` answers what `answer` is expected for.

    Args:
        task: one of `examples.TASKS`.
        facts: what was drawn.
        answer: the expected answer.
        said: what the model said.
    """
    expected, given = normal(answer), normal(said)
    if expected == given:
        return True
    if task == "chart-value" and isinstance(facts, Chart):
        return _value(facts, expected, given)
    if task == "chart-label" and isinstance(facts, Chart):
        return _comparison(facts, expected, given)
    if task == "object" and isinstance(facts, Thing):
        names = (facts.name, *facts.others)
        return _bare(given) in {_bare(normal(f"The picture shows {name}.")) for name in names}
    if task == "describe" and isinstance(facts, Scene):
        return _describes(facts, expected, given)
    if task == "photo" and isinstance(facts, Photo):
        other = wording.photograph(replace(facts, colours=facts.colours[::-1]))
        return given == normal(other)
    return False


def normal(text: str) -> str:
    """Return a text in the form that is compared (rule 1)."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"[\"“”„«»‘’']", "", text)
    words = re.sub(r"[\s.!]+$", "", " ".join(text.split())).split(" ")
    words = [_SPELLINGS.get(word, word) for word in words]
    words = [_DIGITS.get(word, word) for word in words]
    return re.sub(r"^there are no ", "there are 0 ", " ".join(words))


def _value(chart: Chart, expected: str, given: str) -> bool:
    expected, given = (text.replace(" about ", " ") for text in (expected, given))
    *_, true = _NUMBER.finditer(expected)
    head = expected[: true.start()]
    found = re.fullmatch(rf"{re.escape(head)}(\d{{1,3}})", given)
    return found is not None and abs(int(found[1]) - int(true[0])) <= chart.precision


def _comparison(chart: Chart, expected: str, given: str) -> bool:
    true, said = (_COMPARISON.fullmatch(text.replace(" about ", " ")) for text in (expected, given))
    if true is None or said is None or true.group(1, 3, 5) != said.group(1, 3, 5):
        return False
    values = zip(true.group(2, 4), said.group(2, 4), strict=True)
    return all(abs(int(one) - int(other)) <= chart.precision for one, other in values)


def _bare(text: str) -> str:
    return re.sub(r"^(the picture shows )(?:an?|the) ", r"\1", text)


def _describes(scene: Scene, expected: str, given: str) -> bool:
    """Return whether a description names everything rightly (rule 5)."""
    named = list(_GROUP.finditer(given))
    counted: Counter[tuple[str, str]] = Counter()
    for group in named:
        count, colour, shape = group.groups()
        counted[colour, _SHAPES[shape]] += int(count) if count and count.isdigit() else 1
    if counted != Counter((one.colour, one.shape) for one in scene.objects):
        return False
    rest = _GROUP.sub("#", given)
    if re.fullmatch(rf"# {_PLACE}(?:(?:, and |, | and )# {_PLACE})*", rest):
        return _placed(scene, named, re.findall(_PLACE, rest))
    relation = re.fullmatch(rf"# ({'|'.join(_RELATIONS)}) #", rest)
    if relation:
        first, second = (_meant(scene, group) for group in named)
        return _holds(relation[1], first, second)
    states = any(word in expected for word in (*_RELATIONS, *_PLACES))
    return not states and re.fullmatch(r"#(?:(?:, and |, | and )#)*", rest) is not None


def _placed(scene: Scene, named: Sequence[re.Match[str]], places: Sequence[str]) -> bool:
    """Return whether shapes that are told one by one are where it says."""
    told = Counter(
        (group[2], _SHAPES[group[3]], *_PLACES[place])
        for group, place in zip(named, places, strict=True)
    )
    return told == Counter((one.colour, one.shape, one.row, one.column) for one in scene.objects)


def _holds(relation: str, first: _Group, second: _Group) -> bool:
    """Return whether all of `first` are in a row or column before (after) all of `second`."""
    vertical = relation in {"above", "below"}
    one = [placed.row if vertical else placed.column for placed in first]
    other = [placed.row if vertical else placed.column for placed in second]
    if relation in {"above", "to the left of"}:
        return max(one) < min(other)
    return min(one) > max(other)


def _meant(scene: Scene, group: re.Match[str]) -> _Group:
    shape = _SHAPES[group[3]]
    return tuple(one for one in scene.objects if one.colour == group[2] and one.shape == shape)
