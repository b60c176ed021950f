"""Events are written whole and read along, whatever happens to either side."""

import json
import math
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vlmchat.finetune.events import (
    Checkpoint,
    Ended,
    Error,
    Event,
    EventTail,
    EventWriter,
    Paused,
    Resumed,
    Sample,
    Started,
    Step,
    Validation,
    json_schema,
    parse,
    read_events,
    to_line,
    valid,
)

ALL: list[Event] = [
    Started(steps=4, rows=8, validation_rows=2, parameters=100, device="cpu"),
    Step(step=1, epoch=0.5, loss=2.0, learning_rate=1e-4, grad_norm=0.7, tokens=90),
    Validation(step=1, loss=1.5, best=True, metrics={"rewards/margins": 0.1}),
    Sample(step=1, index=0, text="Three\u2028stars.\n\x85 ⟨“x”⟩"),
    Checkpoint(step=1, name="step-1", best=True),
    Paused(step=1),
    Resumed(step=1),
    Ended(reason="early", step=2, best_step=1, loss=1.5),
    Error(message="The disk is full."),
]


def step(number: int) -> Step:
    return Step(step=number, epoch=0.0, loss=1.0, learning_rate=1e-4)


def test_every_event_is_one_line_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        for event in ALL:
            writer.write(event)
    assert len(path.read_text("utf-8").splitlines()) == len(ALL)
    assert read_events(path) == ALL


def test_the_schema_names_every_event() -> None:
    schema = json_schema()
    assert set(schema["discriminator"]["mapping"]) == {event.event for event in ALL}
    for event in ALL:
        reference = schema["discriminator"]["mapping"][event.event].rpartition("/")[2]
        properties = schema["$defs"][reference]["properties"]
        assert set(json.loads(to_line(event))) == set(properties)


def test_a_loss_that_is_no_number_is_null() -> None:
    line = to_line(Step(step=1, epoch=0.0, loss=math.nan, learning_rate=1e-4, grad_norm=math.inf))
    row = json.loads(line, parse_constant=lambda name: 1 / 0)
    assert row["loss"] is None and row["grad_norm"] is None
    event = parse(line)
    assert isinstance(event, Step) and event.loss is None


def test_a_line_cut_off_by_a_kill_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.write(ALL[0])
    with path.open("a") as file:
        file.write('{"event": "step", "st')
    tail = EventTail(path)
    assert tail.new() == ALL[:1]
    with EventWriter(path) as writer:
        writer.write(ALL[1])
    assert tail.new() == ALL[1:2]
    assert tail.skipped == 1


def test_events_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    more = json.loads(to_line(ALL[1])) | {"new_field": 1}
    path.write_text('{"event": "dance"}\n' + json.dumps(more) + "\n" + to_line(ALL[0]))
    tail = EventTail(path)
    assert tail.new() == [ALL[1], ALL[0]]
    assert tail.skipped == 1


@given(st.lists(st.sampled_from(ALL), max_size=8), st.randoms(use_true_random=False))
def test_reading_along_at_any_byte(events: list[Event], dice: random.Random) -> None:
    import tempfile

    data = "".join(map(to_line, events)).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        tail = EventTail(path)
        found = tail.new()
        at = 0
        while at < len(data):
            size = dice.randint(1, 40)
            with path.open("ab") as file:
                file.write(data[at : at + size])
            at += size
            found += tail.new()
        assert found == events
        assert tail.new() == [] and tail.skipped == 0


def test_a_file_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(to_line(ALL[0]) + to_line(ALL[1]))
    tail = EventTail(path)
    assert len(tail.new()) == 2
    path.write_text(to_line(ALL[8]))
    assert tail.new() == [ALL[8]]


def test_a_resumed_run_takes_back_the_steps_after_its_checkpoint() -> None:
    first, again = Started(steps=4, rows=8), Started(steps=4, rows=8, from_step=2)
    one, two, three, repeated = step(1), step(2), step(3), step(3)
    saved, last = Checkpoint(step=2, name="step-2"), step(4)
    events: list[Event] = [first, one, two, saved, three, again, repeated, last]
    assert list(valid(events)) == [first, one, two, saved, again, repeated, last]
