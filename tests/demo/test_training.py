"""Phase 1: targets, rates, the curriculum, checkpoints, and runs that go on."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.demo.small import SMALL, build_small, settings_file
from vlmchat.demo import train
from vlmchat.demo.drawing.captions import BLANK, Slot
from vlmchat.demo.training import state, vocabulary
from vlmchat.demo.training.curriculum import Ladder
from vlmchat.demo.training.processes import Link, LostWorkerError, together
from vlmchat.demo.training.schedule import Schedule
from vlmchat.demo.training.settings import load
from vlmchat.demo.training.slots import Captions, SlotLoss
from vlmchat.demo.training.state import State
from vlmchat.demo.training.tower import Tower
from vlmchat.demo.training.words import Words
from vlmchat.errors import UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("demo") / "small")


@pytest.fixture(scope="module")
def words(model: Path) -> Words:
    return Words(model)


def lines(work: Path, event: str = "step") -> list[dict[str, Any]]:
    """Return what the log says of an event."""
    text = (work / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, text) if line["event"] == event]


def test_targets_are_the_tokens_of_the_caption(words: Words) -> None:
    captions = Captions(words, [" chart", "42", " a b c", "z"], 8)
    slots = [Slot(" chart", 1, 0.3), Slot("42", 4), Slot("", 1, 0.08), Slot(BLANK), Slot("z")]
    targets = captions([slots])
    said = captions.vocabulary[targets.tokens[0]].tolist()
    (blank,) = words.ids(BLANK)
    assert said[1:3] == list(words.ids("42"))
    assert said[0] == words.ids(" chart")[0]  # cut off at its place
    assert said[3:7] == [blank] * 4
    assert said[7] == words.ids("z")[0]
    assert targets.filled[0].tolist() == [True, True, True, False, False, False, True, True]
    assert targets.weights[0, 0] == pytest.approx(0.3)
    assert targets.weights[0, 3] == pytest.approx(0.08)
    assert targets.weights[0, 6] == 1.0  # a blank that means something
    with pytest.raises(ValueError, match="more than 8 places"):
        captions([[Slot("42", 9)]])


def test_the_loss_is_least_at_the_text_models_own_embeddings(words: Words) -> None:
    captions = Captions(words, "abcdefgh", 8)
    loss = SlotLoss(words, captions.vocabulary, load().slots)
    targets = captions([[Slot(letter) for letter in "abcdefgh"]])
    perfect = words.embedding[captions.vocabulary[targets.tokens]]
    low, right = loss(perfect, targets.tokens, targets.weights)
    assert right.all()
    for other in (perfect * 1.5, perfect.flip(1), torch.zeros_like(perfect)):
        assert loss(other, targets.tokens, targets.weights)[0] > low


def test_every_caption_can_be_spelled(words: Words) -> None:
    from random import Random

    from vlmchat.demo.drawing import charts, facts, lettering
    from vlmchat.demo.drawing.captions import caption

    captions, random = Captions(words, vocabulary.texts(), 25), Random(1)
    for _ in range(300):
        text = facts.Lettering(lettering.compose(random, 1.0, random.random() < 0.5))
        captions([caption(text), caption(charts.compose(random, 1.0))])


def test_rates_rise_stay_and_sink_at_the_end() -> None:
    endless = Schedule(10)
    assert endless.factor(0, 0) == pytest.approx(0.1)
    assert endless.factor(9, 5) == endless.factor(10**6, 10**6) == 1.0
    assert not endless.over(10**9, 10**9)
    sinking = Schedule(10, 100)
    assert sinking.factor(99, 0) == 1.0
    assert sinking.factor(399, 0) == pytest.approx(0.5)
    assert Schedule(10, steps=7).over(7, 0)
    assert not Schedule(10, steps=7).over(6, 10**9)
    ending = Schedule(10, seconds=100, cooldown=20, floor=0.1)
    assert ending.factor(500, 79) == 1.0
    assert ending.factor(500, 90) == pytest.approx(0.55)
    assert ending.factor(500, 100) == pytest.approx(0.1)
    assert ending.over(500, 100)


def test_a_level_rises_when_it_is_learned_and_learned_kinds_are_drawn_less() -> None:
    ladder = Ladder(("scene", "chart"), load().curriculum, bar=0.9, least_seen=50)
    for _ in range(49):
        ladder.saw("scene", 1.0, 1, 1)
    assert ladder.level("scene") == 0
    ladder.saw("scene", 1.0, 1, 1)
    assert ladder.level("scene") == pytest.approx(0.05)
    assert ladder.kinds["scene"].seen == 0
    weights = ladder.weights()
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["chart"] > weights["scene"] > 0.1
    for _ in range(2000):
        ladder.saw("scene", 1.0, 1, 1)
    assert ladder.level("scene") == 1.0
    assert ladder.level("chart") == 0
    before = ladder.weights()
    for _ in range(2000):  # nearly right, but never wholly
        ladder.saw("chart", 0.8, 0, 1)
    assert ladder.weights()["chart"] == pytest.approx(before["chart"])
    other = Ladder(("scene", "clip"), load().curriculum, bar=0.9, least_seen=50)
    other.restore(json.loads(json.dumps(ladder.plain())))
    assert other.level("scene") == 1.0
    assert other.level("clip") == 0
    kinds = ("scene", "chart")
    favoured = replace(load().curriculum, favour={"scene": 3.0})
    assert Ladder(kinds, favoured, bar=0.9, least_seen=50).weights() == {
        "scene": 0.75,
        "chart": 0.25,
    }
    needs = ladder.needs()
    assert needs["chart"] == 1.0 and 0.1 < needs["scene"] < 0.3
    assert not Ladder((), load().curriculum, bar=0.9, least_seen=50).needs()


def test_settings_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[run]\nworkers = 1\n[augment]\ngain = 1\n")
    assert load(file).run.workers == 1
    assert load(file).augment.gain == 1.0
    for text, said in (
        ("[run]\nspeed = 1\n", "no setting “speed”"),
        ('[run]\nworkers = "two"\n', "must be int"),
        ("[fun]\n", "“fun”"),
        ('[curriculum]\nkinds = ["cat"]\n', "some of scene"),
        ("[curriculum]\nfavour = {cat = 2.0}\n", "table of scene"),
        ("[curriculum]\nfavour = 2.0\n", "table of scene"),
        ("[curriculum]\nfavour = {scene = 0}\n", "above 0"),
        ("[language]\ntasks = []\n", "some of colour"),
        ("= 3", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=said):
            load(file)


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path))
    tower = Tower(settings.tower)
    at = State(1, 7, 99, 1.5, {"scene": [0.1, 0.5, 3, 9]})
    optimizer = {"muon.x": torch.randn(3, 2), "adam.step.y": torch.tensor(4.0)}
    file = state.write(tmp_path, at, settings.plain(), tower, optimizer)
    found = state.read(file)
    assert found.state == at
    assert found.shape == SMALL
    for name, tensor in tower.state_dict().items():
        assert torch.equal(found.tower[name], tensor)
    assert all(torch.equal(found.optimizer[name], optimizer[name]) for name in optimizer)
    file.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="no checkpoint"):
        state.read(file)


def start(model: Path, work: Path, *more: str, settings: str = "") -> None:
    """Train in this process."""
    work.mkdir(exist_ok=True)
    file = settings_file(work, settings)
    train.run(
        ["--work", str(work), "--model", str(model), "--settings", str(file), "--no-nice", *more]
    )


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(model: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    start(model, whole, "--steps", "4")
    for steps in ("2", "4"):
        start(model, halves, "--steps", steps)
    one, two = (state.read(state.path(work, 1)) for work in (whole, halves))
    assert one.state.step == two.state.step == 4
    assert one.state.images == two.state.images == 16
    assert one.state.ladder == two.state.ladder
    for name, tensor in one.tower.items():
        assert torch.equal(two.tower[name], tensor), name
    for name, tensor in one.optimizer.items():
        assert torch.equal(two.optimizer[name], tensor), name
    assert [line["losses"] for line in lines(whole)] == [line["losses"] for line in lines(halves)]
    drawn = {"scene", "chart", "lettering", "page", "thing", "photo"}
    assert set(lines(whole)[0]["levels"]) == drawn
    [measured] = lines(whole, "measured")[:1]
    assert {kind: score["count"] for kind, score in measured["kinds"].items()} == dict.fromkeys(
        drawn, 2
    )


@pytest.mark.slow
def test_the_phases_go_on_from_each_other_and_export(model: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "run", tmp_path / "out"
    for phase in ("2", "3"):
        with pytest.raises(UsageError, match="run phase 1 first"):
            start(model, work, "--phase", phase)
    start(model, work, "--steps", "1")
    first = state.read(state.path(work, 1))
    train.run(["--work", str(work), "--export", str(out)])
    assert (out / "vision.safetensors").exists() and not (out / "reading").exists()

    start(model, work, "--phase", "2", "--steps", "1")
    start(model, work, "--phase", "2", "--steps", "3")
    second = state.read(state.path(work, 2))
    assert second.state.step == 3 and not second.tower
    assert all(it.abs().sum() > 0 for it in second.adapter.values())
    assert any(kind.startswith("task/") for kind in lines(work)[-1]["kinds"])
    with pytest.raises(UsageError, match="holds no tower"):
        start(model, work, "--phase", "3", "--from", str(state.path(work, 2)))
    start(model, work, "--phase", "3", "--steps", "2")
    third = state.read(state.path(work, 3))
    assert any(not torch.equal(first.tower[name], it) for name, it in third.tower.items())
    train.run(["--work", str(work), "--model", str(model), "--export", str(out)])
    assert (out / "reading" / "adapter_model.safetensors").exists()

    further, written = tmp_path / "further", tmp_path / "written"
    source = str(state.path(work, 3))
    start(model, further, "--phase", "2", "--from", source, "--steps", "1")
    export = ["--work", str(further), "--model", str(model), "--export", str(written)]
    with pytest.raises(UsageError, match="name weights that have one with --from"):
        train.run(export)
    train.run([*export, "--from", source])
    same, other = "vision.safetensors", "reading/adapter_model.safetensors"
    assert (written / same).read_bytes() == (out / same).read_bytes()
    assert (written / other).read_bytes() != (out / other).read_bytes()
    with pytest.raises(UsageError, match="another shape"):
        train.run(["--work", str(work), "--model", str(model), "--no-nice"])
    with pytest.raises(UsageError, match="another shape"):
        start(model, work, "--phase", "2", settings="[reading]\nrank = 3\n")


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.slow
def test_a_signal_ends_two_workers_with_a_checkpoint(model: Path, tmp_path: Path) -> None:
    work = tmp_path / "run"
    work.mkdir()
    file = settings_file(work)
    file.write_text(file.read_text().replace("workers = 1", "workers = 2"))
    command = [sys.executable, "-m", "vlmchat.demo.train", "--work", str(work), "--model"]
    command += [str(model), "--settings", str(file), "--minutes", "9"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert json.loads(child.stdout.readline())["images"] == 8
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
    assert child.wait(timeout=60) == 0
    found = state.read(state.path(work, 1))
    assert found.state.step == lines(work)[-1]["step"]
    assert found.state.images == 8 * found.state.step


def echo(link: Link, base: float) -> None:
    """Be the second worker of the tests below."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    link.put([torch.full((3,), base)])
    assert link.meet("second", lambda _: "") == "first second"
    link.mean([parameter])
    updates = [torch.empty(2), torch.full((2,), 7.0)]
    link.share(updates)
    assert updates[0].tolist() == [5.0, 5.0]


def dies(link: Link) -> None:
    os._exit(3)


@pytest.mark.slow
def test_workers_add_up_gradients_and_share_updates() -> None:
    link, others = together(2, 4, echo, (3.0,))
    parameter = torch.nn.Parameter(torch.zeros(3))
    link.put([torch.full((3,), 1.0)])
    assert link.meet("first", " ".join) == "first second"
    link.mean([parameter])
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [2.0, 2.0, 2.0]
    updates = [torch.full((2,), 5.0), torch.empty(2)]
    link.share(updates)
    assert updates[1].tolist() == [7.0, 7.0]
    others[0].join(timeout=30)
    assert others[0].exitcode == 0


@pytest.mark.slow
def test_the_death_of_a_worker_is_told() -> None:
    link, others = together(2, 1, dies, ())
    with pytest.raises(LostWorkerError, match="start it again"):
        link.meet(None, lambda _: None)
    others[0].join(timeout=30)
    assert multiprocessing.active_children() == []
