"""What patches are asked beside the captions."""

from random import Random

import numpy as np
import pytest
import torch

from vlmchat.demo.drawing import canvas, examples
from vlmchat.demo.drawing.captions import caption
from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.drawing.facts import BAR, Chart, Lettering, Mark, Page, Scene
from vlmchat.demo.training import marks, pictures
from vlmchat.demo.training.settings import load
from vlmchat.demo.training.tower import Shape, Tower

SHAPE = Shape()
HALVES = (SHAPE.grid, SHAPE.grid * marks.HALVES)


def lessons(kind: str, count: int = 40) -> list[Lesson]:
    return [examples.lesson(kind, Random(f"{kind} {number}"), 1.0) for number in range(count)]


def ink(lesson: Lesson, mark: Mark) -> float:
    """Return how much the pixels in a mark's box differ."""
    left, top, right, bottom = (round(edge) for edge in mark.box)
    pixels = np.asarray(lesson.images[0].convert("L"), float)
    return float(pixels[max(0, top) : bottom + 1, max(0, left) : right + 1].std())


@pytest.mark.parametrize("kind", ["scene", "chart", "lettering"])
def test_marks_lie_in_the_picture_and_can_be_said(kind: str) -> None:
    for lesson in lessons(kind):
        for mark in lesson.marks:
            assert mark.says in marks.FORMS[1:]
            assert -8 <= mark.box[0] < mark.box[2] <= canvas.SIDE + 8
            assert -8 <= mark.box[1] < mark.box[3] <= canvas.SIDE + 8


def test_letters_are_marked_in_their_order_where_there_is_ink() -> None:
    for lesson in lessons("lettering"):
        assert isinstance(lesson.facts, Lettering)
        text = lesson.facts.text
        letters = caption(lesson.facts)[2:]
        assert [mark.order for mark in lesson.marks] == sorted({it.order for it in lesson.marks})
        for mark in lesson.marks:
            assert letters[mark.order].text == mark.says
            assert ink(lesson, mark) > 15
        assert len(lesson.marks) == len(text.replace(" ", ""))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_page_has_many_letters_numbered_in_their_words(level: float) -> None:
    letters = 0
    for number in range(20):
        lesson = examples.lesson(examples.PAGE, Random(f"page {number}"), level)
        assert isinstance(lesson.facts, Page) and not lesson.asked
        words = [word for line in lesson.facts.lines for word in line.split()]
        expected = [(letter, place) for word in words for place, letter in enumerate(word)]
        assert [(mark.says, mark.order) for mark in lesson.marks] == expected
        for mark in lesson.marks:
            assert ink(lesson, mark) > 15
            assert mark.box[0] >= 0 and mark.box[2] <= canvas.SIDE
            assert mark.box[3] <= canvas.SIDE + 8
        letters += len(lesson.marks)
    assert letters / 20 > (14, 20, 40)[round(2 * level)]


def test_bars_labels_and_printed_values_are_marked() -> None:
    for lesson in lessons("chart"):
        chart = lesson.facts
        assert isinstance(chart, Chart)
        said = {(mark.says, mark.order) for mark in lesson.marks}
        for place, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
            assert {(label, place), (BAR, place)} <= said
            assert ((str(value), place) in said) == chart.printed
        assert ("0", -1) in said  # the axis begins with it


def test_halves_of_patches_of_a_shape_say_its_name_number_and_colour() -> None:
    for lesson in lessons("scene"):
        assert isinstance(lesson.facts, Scene)
        told = marks.wanted(SHAPE, [lesson.marks], [(0, 0)])[0].view(*HALVES, 3)
        for order, one in enumerate(lesson.facts.objects):
            form, number, colour = told[int(one.y) // 16, int(one.x) // 8].tolist()
            assert marks.FORMS[form] == one.shape
            assert number == order
            assert marks.COLOURS[colour] == one.colour
        if not lesson.facts.objects:
            assert (told[..., 0] == -100).all()


def test_a_mark_moves_with_its_picture_and_a_narrow_one_has_half_a_patch() -> None:
    narrow = Mark("i", (41, 40, 43, 60), 2)
    still = marks.wanted(SHAPE, [[narrow]], [(0, 0)])[0].view(*HALVES, 3)
    moved = marks.wanted(SHAPE, [[narrow]], [(16, 24)])[0].view(*HALVES, 3)
    there = marks.FORMS.index("i")
    assert (still[..., 0] == there).nonzero().tolist() == [[2, 5], [3, 5]]
    assert (moved[..., 0] == there).nonzero().tolist() == [[3, 8], [4, 8]]
    assert (still[..., 0] == 0).sum() == HALVES[0] * HALVES[1] - 2
    assert still[2, 5].tolist() == [there, 2, -100]  # no colour


def test_two_letters_in_one_patch_are_both_said() -> None:
    both = [Mark("l", (33, 40, 39, 60), 0), Mark("i", (41, 40, 46, 60), 1)]
    told = marks.wanted(SHAPE, [both], [(0, 0)])[0, 2 * SHAPE.grid + 2]
    assert [marks.FORMS[form] for form, *_ in told.tolist()] == ["l", "i"]
    assert [number for _, number, _ in told.tolist()] == [0, 1]


def test_nothing_is_asked_where_nothing_is_known() -> None:
    told = marks.wanted(SHAPE, [(), [Mark("not said", (0, 0, 16, 16))]], [(0, 0), (0, 0)])
    assert (told[0] == -100).all()
    assert told[1, 0].tolist() == [[-100, -100, -100]] * marks.HALVES


def test_the_loss_is_least_where_all_is_right_and_finite_where_nothing_is_asked() -> None:
    batch = pictures.held_out("lettering", 2)
    classes = marks.wanted(SHAPE, batch.marks, batch.offsets)
    loss = marks.MarkLoss(load().marks)
    said = torch.zeros(2, SHAPE.grid**2, marks.HALVES, marks.CLASSES)
    unknowing, nothing = loss(said.flatten(2), classes)
    for part, first in ((0, 0), (1, len(marks.FORMS))):
        known = classes[..., part] >= 0
        right = torch.nn.functional.one_hot(classes[..., part].clamp(min=0), marks.CLASSES - first)
        said[..., first:] += 20.0 * right * known[..., None]
    knowing, everything = loss(said.flatten(2), classes)
    assert float(knowing) < 0.01 and everything.tolist() == [1.0, 1.0]
    assert float(unknowing) > 1 and nothing.tolist() == [0.0, 0.0]
    silent, none = loss(said.flatten(2), torch.full_like(classes, -100))
    assert float(silent) == 0 and none.tolist() == [0.0, 0.0]


def test_of_each_picture_it_is_told_how_much_is_right() -> None:
    both = [[Mark("l", (32, 32, 40, 48), 0), Mark("i", (40, 32, 48, 48), 1)]] * 2
    classes = marks.wanted(SHAPE, both, [(0, 0)] * 2)
    said = torch.zeros(2, SHAPE.grid**2, marks.HALVES, marks.CLASSES)
    said[..., marks.FORMS.index("l")] = 1.0
    said[1, :, 1, marks.FORMS.index("i")] = 2.0
    _, right = marks.MarkLoss(load().marks)(said.flatten(2), classes)
    assert right.tolist() == [0.5, 1.0]


def test_what_is_asked_aside_changes_no_image_token() -> None:
    torch.manual_seed(0)
    tower = Tower(Shape(layers=3), marks.OUTPUTS)
    pixels = pictures.held_out("chart", 1).pixels
    tokens, said = tower.asked(pixels, None, None, 2)
    assert torch.equal(tokens, tower(pixels))
    assert said.shape == (1, SHAPE.grid**2, marks.OUTPUTS)


def test_some_pictures_are_drawn_ahead_of_their_level() -> None:
    weights, levels = {"scene": 0.5, "photo": 0.5}, {"scene": 0.0, "photo": 1.0}
    augment = load().augment
    batch = pictures.batch(Random(4), 60, weights, levels, augment, 0.5)
    ahead = [it for it, kind in zip(batch.ahead, batch.kinds, strict=True) if kind == "scene"]
    assert 0 < sum(ahead) < len(ahead)
    assert not any(it for it, kind in zip(batch.ahead, batch.kinds, strict=True) if kind == "photo")
