"""Drawn pictures: what they show, how they are captioned, asked about and judged."""

from random import Random

import pytest

from vlmchat.demo.drawing import (
    canvas,
    captions,
    charts,
    examples,
    judging,
    lettering,
    photos,
    questions,
    scenes,
    things,
    wording,
)
from vlmchat.demo.drawing.facts import (
    FORMS,
    Asked,
    Chart,
    Clip,
    Facts,
    Lettering,
    Pair,
    Photo,
    Placed,
    Scene,
    Thing,
)


def _random(number: int) -> Random:
    return Random(number)


def _at(shape: str, colour: str, column: int, row: int) -> Placed:
    return Placed(shape, colour, column, row, column * 80 + 40, row * 80 + 40, 30)


def _lessons(count: int) -> list[examples.Lesson]:
    return [
        examples.lesson(kind, _random(number), level)
        for kind in examples.KINDS
        for level in (0.0, 1.0)
        for number in range(count)
    ]


LESSONS = _lessons(12)


def test_every_picture_has_the_size_a_caption_that_fits_and_questions() -> None:
    for lesson in LESSONS:
        assert {(image.size, image.mode) for image in lesson.images} == {((240, 240), "RGB")}
        told = captions.captions(lesson.facts)
        assert len(told) == len(lesson.images)
        assert all(0 < captions.used(slots) <= captions.PLACES for slots in told)
        assert lesson.asked
        for one in lesson.asked:
            assert one.task in examples.TASKS
            assert one.question[-1] in "?."
            assert judging.right(one.task, lesson.facts, one.answer, one.answer)
            assert not judging.right(one.task, lesson.facts, one.answer, f"{one.answer} Yes.")


def test_the_same_seed_draws_the_same_and_the_splits_do_not_meet() -> None:
    for task in examples.TASKS:
        one, same = (examples.example(task, "train", 3, 5) for _ in range(2))
        assert one.task == task
        assert one == same
        other = examples.example(task, "eval", 3, 5)
        assert [image.tobytes() for image in one.images] != [
            image.tobytes() for image in other.images
        ]


def test_shapes_lie_in_their_fields_apart_and_in_their_colour() -> None:
    for number in range(60):
        drawing = scenes.draw(_random(number), 1.0)
        assert isinstance(drawing.facts, Scene)
        placed = drawing.facts.objects
        assert list(placed) == sorted(placed, key=lambda one: (one.column, one.row))
        for one in placed:
            for third, value in ((one.column, one.x), (one.row, one.y)):
                low = third * scenes.FIELD + scenes.MARGIN - 0.01
                assert low <= value <= low + scenes.FIELD - 2 * scenes.MARGIN + 0.02
            assert all(scenes.apart(one, other) for other in placed if other is not one)
            if one.shape != "ring":
                seen = drawing.image.getpixel((round(one.x), round(one.y)))
                assert isinstance(seen, tuple)
                red, green, blue = seen[:3]
                nearest = min(
                    canvas.COLOURS,
                    key=lambda name: canvas.distance(canvas.COLOURS[name], (red, green, blue)),
                )
                assert nearest == one.colour


def test_the_bars_of_a_chart_reach_their_values() -> None:
    for number in range(30):
        drawing = charts.draw(_random(number), 1.0)
        chart = drawing.facts
        assert isinstance(chart, Chart)
        ranked = sorted(chart.values)
        clear = charts.CLEAR * chart.top
        assert min(ranked[1] - ranked[0], ranked[-1] - ranked[-2]) >= clear
        assert 0 < ranked[0] <= ranked[-1] <= min(99, chart.top)
        assert chart.precision == (0 if chart.printed else chart.tick / 2)


def test_photographs_have_the_colours_that_are_told() -> None:
    shades = {shade: name for name, those in photos.TONES.items() for shade in those}
    for number, name in enumerate(4 * list(photos.TONES)):
        pixel = photos._surface(_random(number), 1.0, name).resize((1, 1)).getpixel((0, 0))
        assert isinstance(pixel, tuple)
        red, green, blue = pixel
        nearest = min(shades, key=lambda shade: canvas.distance(shade, (red, green, blue)))
        assert shades[nearest] == name
    for number, forms in enumerate(12 * FORMS):
        covered = photos._mask(_random(number), number % 2, forms).histogram()
        assert 0.15 < sum(covered[128:]) / 240**2 < 0.45
    said = wording.photograph(Photo(("green", "blue"), "round"))
    assert judging.right("photo", Photo(("blue", "green"), "round"), "I see.", said)
    assert not judging.right("photo", Photo(("blue", "green"), "soft"), "I see.", said)


def test_captions_have_a_fixed_layout() -> None:
    scene = Scene((_at("circle", "red", 0, 1), _at("star", "blue", 2, 0)))
    assert [slot.text for slot in captions.caption(scene)] == [
        " two", " red", " circle", " middle", " left", " blue", " star", " top", " right",
    ]  # fmt: skip
    chart = Chart(("Q1", "Q2", "Q3"), (7, 45, 90), ("red",) * 3, True, 100, 20)
    slots = captions.caption(chart)
    assert captions.used(slots) == captions.PLACES
    assert [slot.text for slot in slots[:4]] == [" chart", " Q1", captions.BLANK, "7"]
    assert [slot.text for slot in slots[-4:]] == [" Q3", "9", "0", " Q1"]
    months = Chart(tuple("ABCDEF"), (1, 2, 3, 4, 5, 9), ("red",) * 6, False, 10, 2)
    assert captions.used(captions.caption(months)) == captions.PLACES
    words = captions.caption(Lettering("tea cup"))
    middle = [captions.BLANK, *[""] * 9]
    assert [slot.text for slot in words] == [" text", " tea cup", *"tea", *middle, *"cup"]
    assert captions.used(words) == captions.PLACES
    word = captions.caption(Lettering("cups"))
    assert [slot.text for slot in word[2:]] == [*"cups", captions.BLANK, *[""] * 11]
    assert [slot.weight for slot in word[5:8]] == [1.0, 1.0, captions.BLANK_WEIGHT]


def test_evaluation_shows_words_that_training_never_does() -> None:
    trained = {lettering.compose(_random(n), 1.0, False).lower() for n in range(600)}
    words = {word for text in trained for word in text.split() if word.isalpha()}
    assert not any(map(lettering.held_out, words))
    shown = [lettering.compose(_random(n), 1.0, True).lower() for n in range(300)]
    new = sum(text.split()[0].isalpha() and lettering.held_out(text.split()[0]) for text in shown)
    assert new > 40
    assert max(map(len, trained)) <= lettering.MOST
    assert len(lettering.words()) > 3000


def test_three_hundred_things_have_names_of_their_own() -> None:
    listed = things.listed()
    assert len({thing.name for thing in listed}) == len(listed) >= 300
    signs = [sign for thing in listed for sign in thing.signs]
    assert len(set(signs)) == len(signs)
    assert {"cat", "owl", "pizza"} <= {thing.name for thing in things.available()}
    assert wording.named("owl") == "an owl"
    assert wording.named("unicorn") == "a unicorn"
    assert wording.named("grapes") == "grapes"
    assert wording.named("octopus") == "an octopus"


def test_a_pair_and_a_clip_are_what_their_answers_say() -> None:
    for lesson in LESSONS:
        facts = lesson.facts
        if isinstance(facts, Pair) and facts.change:
            before, after = set(facts.first.objects), set(facts.second.objects)
            assert before - after == ({facts.before} - {None})
            assert after - before == ({facts.after} - {None})
        if isinstance(facts, Clip):
            assert lesson.frames
            assert 4 <= len(facts.frames) <= 8
            first, last = facts.frames[0].objects[0], facts.frames[-1].objects[0]
            ways = {"left": first.x - last.x, "right": last.x - first.x,
                    "up": first.y - last.y, "down": last.y - first.y}  # fmt: skip
            if facts.motion:
                assert ways[facts.motion] == max(ways.values()) >= 108
            else:
                assert facts.frames[0].objects == facts.order[:1]
                assert set(facts.frames[-1].objects) == set(facts.order)


def test_nothing_is_asked_that_has_two_answers() -> None:
    twins = Scene((_at("circle", "red", 0, 0), _at("circle", "red", 1, 1)))
    for number in range(40):
        tasks = {one.task for one in questions.ask(twins, _random(number))}
        assert "position" not in tasks
        for one in questions.ask(twins, _random(number)):
            if one.task in {"colour", "shape"}:
                assert (
                    " at the " in one.question
                    or " on the " in one.question
                    or (" in the center" in one.question)
                )


def test_wrong_premises_are_told_and_right_ones_too() -> None:
    lessons = [examples.example("premise", "eval", 1, number) for number in range(120)]
    denied = [one for one in lessons if "no" in one.answer.lower().split()
              or "nothing" in one.answer]  # fmt: skip
    assert 70 <= len(denied) < 120
    for one in denied:
        if isinstance(one.facts, Scene) and "There is no " in one.answer:
            missed = one.answer.split("no ", 1)[1].split(" in ")[0]
            assert missed not in {shape.shape for shape in one.facts.objects}


@pytest.mark.parametrize(
    ("task", "facts", "answer", "said", "right"),
    [
        ("colour", Scene(()), "The star is gray.", " the star is grey", True),
        ("colour", Scene(()), "The star is red.", "The star is blue.", False),
        ("count", Scene(()), "There are 3 circles.", "There are three circles.", True),
        ("count", Scene(()), "There are no circles.", "There are 0 circles", True),
        ("count", Scene(()), "There are 3 circles.", "There are 4 circles.", False),
        ("text", Lettering("Tea"), "The text says Tea.", "The text says “tea”.", True),
        ("object", Thing("TV", ("television",), "", ""), "The picture shows a TV.",
         "The picture shows a television.", True),
        ("object", Thing("cat", (), "", ""), "The picture shows a cat.",
         "The picture shows a dog.", False),
    ],
)  # fmt: skip
def test_answers_are_judged_in_one_form(
    task: str, facts: Facts, answer: str, said: str, right: bool
) -> None:
    assert judging.right(task, facts, answer, said) is right


def test_a_value_is_right_within_the_charts_precision() -> None:
    asked = Asked("chart-value", "What is the value of Feb?", "The value of Feb is about 40.")
    values = (("Jan", "Feb", "Mar"), (10, 40, 80), ("red", "red", "red"))
    read, printed = Chart(*values, False, 100, 20), Chart(*values, True, 100, 20)
    for said, near, exact in (
        ("The value of Feb is about 50.", True, False),
        ("The value of Feb is 31", True, False),
        ("The value of Feb is 40.", True, True),
        ("The value of Feb is 51.", False, False),
        ("The value of Mar is 40.", False, False),
        ("The value of Feb is 40 or 50.", False, False),
    ):
        assert judging.right("chart-value", read, asked.answer, said) is near
        assert judging.right("chart-value", printed, asked.answer, said) is exact


def test_a_comparison_names_both_values_before_it_says_yes_or_no() -> None:
    values = (("Q1", "Q2", "2021"), (10, 40, 80), ("red", "red", "red"))
    read, printed = Chart(*values, False, 100, 20), Chart(*values, True, 100, 20)
    answer = "Q2 is about 40 and 2021 about 80, so Q2 is lower: no."
    for said, near, exact in (
        ("Q2 is 40 and 2021 80, so Q2 is lower: no.", True, True),
        ("Q2 is about 45 and 2021 about 72, so Q2 is lower: no.", True, False),
        ("Q2 is about 40 and 2021 about 80, so Q2 is lower: yes.", False, False),
        ("Q2 is about 40 and 2021 about 91, so Q2 is lower: no.", False, False),
        ("Q1 is about 40 and 2021 about 80, so Q2 is lower: no.", False, False),
        ("Q2 is about 40 and 2021 about 80, so Q2 is higher: no.", False, False),
        ("No, Q2 is lower than 2021.", False, False),
    ):
        assert judging.right("chart-label", read, answer, said) is near
        assert judging.right("chart-label", printed, answer, said) is exact
    highest = "The highest bar is Q2."
    assert not judging.right("chart-label", read, highest, "The highest bar is Q1.")


@pytest.mark.parametrize(
    ("way", "true", "yes"),
    [
        ("left of", "left of", True),
        ("right of", "left of", False),
        ("above", "below", False),
        ("below", "below", True),
    ],
)
def test_places_are_told_before_they_are_compared(way: str, true: str, yes: bool) -> None:
    scene = Scene((_at("star", "red", 0, 2), _at("ring", "red", 2, 1)))
    found = {
        one.question: one.answer
        for seed in range(300)
        for one in questions.ask(scene, Random(seed))
        if one.task == "position"
    }
    there = "on the left and the ring on the right"
    if true == "below":
        there = "at the bottom and the ring in the middle"
    answer = f"The star is {there}, so it is {true} the ring: {'yes' if yes else 'no'}."
    assert found[f"Is the star {way} the ring?"] == answer


def test_what_is_counted_is_told_one_by_one() -> None:
    scene = Scene((_at("star", "red", 0, 0), _at("ring", "red", 1, 1), _at("star", "blue", 2, 1)))
    answers = {
        one.answer
        for seed in range(300)
        for one in questions.ask(scene, Random(seed))
        if one.task == "count"
    }
    assert answers >= {
        "There are 3 shapes.",
        "One at the top left, one on the right: 2 stars.",
        "One in the center: 1 ring.",
        "One at the top left, one in the center: 2 red shapes.",
        "There are no circles.",
    }


def test_a_description_needs_every_fact() -> None:
    scene = Scene(
        (_at("square", "blue", 0, 2), _at("circle", "red", 1, 0), _at("square", "blue", 2, 2))
    )
    answer = wording.description(scene)
    first, last = "a blue square at the bottom left", "a blue square at the bottom right"
    assert answer == f"{first.capitalize()}, a red circle at the top center and {last}."

    def right(said: str) -> bool:
        return judging.right("describe", scene, answer, said)

    assert right("Two blue squares below a red circle.")
    assert right("a red circle above 2 blue squares")
    assert not right("A red circle and two blue squares.")  # says less
    assert not right("A red circle below two blue squares.")
    assert not right("A red circle to the left of two blue squares.")
    assert not right("A red circle above a blue square.")
    assert not right("A red circle above two blue squares and a green star.")
    circle = "a red circle at the top center"
    assert right(f"{circle}, {last} and {first}")
    assert right(f"{circle} and {last}, and {first}")
    assert not right(f"{circle}, {last} and {last}")
    assert not right(f"{circle}, {last} and a red square at the bottom left")
    assert not right(f"{circle}, two blue squares at the bottom right")
    assert not right(f"{circle} and {first}")
    assert not right(f"{circle}, {first}, {last} and a green star on the left")
    assert not right("A red circle, a blue square and a blue square.")
    lone = Scene((_at("star", "pink", 0, 0),))
    assert not judging.right("describe", lone, wording.description(lone), "A pink star.")
    assert not judging.right(
        "describe", lone, wording.description(lone), "A pink star at the top right."
    )
