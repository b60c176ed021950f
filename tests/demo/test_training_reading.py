"""Phase 2: the adapter is PEFT's, conversations are the engine's, and text chat stays as it was."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, SmolVLMForConditionalGeneration

from tests.demo.small import SMALL, build_small, settings_file
from tests.pictures import encoded
from vlmchat.chat.messages import ImagePart, Message, TextPart, user_message
from vlmchat.demo.drawing.examples import lesson
from vlmchat.demo.reading import plain_file
from vlmchat.demo.training import exporting
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.asking import Asking
from vlmchat.demo.training.curriculum import Wanted
from vlmchat.demo.training.frozen import FrozenText, Row
from vlmchat.demo.training.prompts import Prompts
from vlmchat.demo.training.reading import ReadingTrainer
from vlmchat.demo.training.settings import Settings, load
from vlmchat.demo.training.start import Plan, beginning
from vlmchat.demo.training.tower import Tower
from vlmchat.demo.training.words import Words
from vlmchat.engine.adapters import wear
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.prompt import PromptBuilder
from vlmchat.errors import ModelError, UsageError
from vlmchat.media.images import media_from_bytes
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.tiles import ProcessorSpec
from vlmchat.models.progress import ignore_progress

RANK = 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("demo") / "small")


@pytest.fixture(scope="module")
def adapter(small: Path) -> Adapter:
    """Return an adapter that changes much, in numbers that bfloat16 has."""
    made = Adapter(Words(small).config["text_config"], RANK)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in made.parameters():
            drawn = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn.bfloat16().float())
    return made


@pytest.fixture(scope="module")
def assembled(small: Path, adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assembled") / "model"
    exporting.assemble(Tower(SMALL), small, folder, adapter)
    # What is written is for SmolLM2: the sizes of the small text model come from where it does.
    config, its = (json.loads((it / "config.json").read_text()) for it in (folder, small))
    config |= {name: its[name] for name in ("text_config", "image_token_id")}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_it_is_what_peft_makes_of_its_files(
    small: Path, adapter: Adapter, assembled: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    words = Words(small)
    before, tokens = [1, 2, 3], torch.arange(5, 25)
    text = FrozenText(
        words, before, torch.device("cpu"), torch.float32, adapter=adapter.requires_grad_(False)
    )
    row = Row(torch.arange(20) + 3, torch.ones(20, 23).tril(3).bool())
    ours = text.logits(text(words.embedding[tokens], [row]))
    exporting.export(Tower(SMALL), tmp_path, adapter)
    model: Any = SmolVLMForConditionalGeneration.from_pretrained(small).eval().float()
    ids = torch.tensor([[*before, *tokens.tolist()]])
    with torch.no_grad():
        plain = model(input_ids=ids).logits[0, 3:]
        tuned: Any = PeftModel.from_pretrained(model, str(tmp_path / "reading")).eval()
        theirs = tuned(input_ids=ids).logits[0, 3:]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert (theirs - plain).abs().max() > 0.1

    merged = tuned.merge_and_unload().state_dict()
    for name, tensor in load_file(assembled / "model.safetensors").items():
        if "text_model.layers" in name:
            torch.testing.assert_close(tensor.float(), merged[name], rtol=1e-2, atol=1e-2)
    assert not (assembled / "reading").exists()


def test_what_is_shipped_may_be_written_over(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "weights"
    exporting.export(Tower(SMALL), shipped)
    before = {file.name: file.read_bytes() for file in shipped.iterdir()}
    monkeypatch.setattr(exporting, "shipped_weights", lambda: shipped)
    exporting.export(Tower(SMALL), shipped, adapter)
    changed = {name for name, data in before.items() if (shipped / name).read_bytes() != data}
    assert changed == {"vision.safetensors"} and (shipped / "reading").is_dir()


def test_what_learns_reads_the_beginning_with_what_it_has_learned(
    small: Path, adapter: Adapter
) -> None:
    words = Words(small)
    learning = Adapter(words.config["text_config"], RANK)
    text = FrozenText(words, [1, 2, 3], torch.device("cpu"), torch.float32, adapter=learning)
    learning.load_state_dict(adapter.state_dict())
    other = FrozenText(words, [1, 2, 3], torch.device("cpu"), torch.float32, adapter=adapter)
    row = Row(torch.arange(4) + 3, torch.ones(4, 7).tril(3).bool())
    inputs = words.embedding[torch.arange(4)]
    assert torch.equal(text(inputs, [row]), other(inputs, [row]))
    torch.autograd.backward(text(inputs, [row]).square().mean())
    assert all(it.grad is not None and it.grad.abs().sum() > 0 for it in learning.parameters())


@pytest.mark.parametrize("kind", ["scene", "pair", "clip"])
def test_turns_are_the_engines_conversation(small: Path, kind: str) -> None:
    prompts = Prompts(Words(small), SMALL.tokens)
    drawn = lesson(kind, Random(3), 1.0)
    prompt = prompts.write(drawn, Random(3), 3, turns=True)
    assert len(prompt.answers) >= 2
    tokenizer: Any = AutoTokenizer.from_pretrained(small)
    said = [
        tokenizer.decode(answer.tokens[:-1], skip_special_tokens=False) for answer in prompt.answers
    ]
    asked = [next(one for one in drawn.asked if one.answer == text) for text in said]
    spec = ProcessorSpec(240, 240, splitting=False, tokens_per_tile=SMALL.tokens)
    builder = PromptBuilder(tokenizer, spec, DEFAULT_LIMITS)
    shown = [ImagePart(media_from_bytes(encoded("PNG", 240, 240), "p.png")) for _ in drawn.images]
    first = Message("user", (*shown, TextPart(asked[0].question)))
    turns = [first]
    for one, text in zip(asked[1:], said[:-1], strict=True):
        turns += [Message("assistant", (TextPart(text),)), user_message(one.question)]
    wanted = [*builder.build(turns).ids, *prompt.answers[-1].tokens[:-1]]
    ours = [*prompts.beginning, *prompt.tokens.tolist()]
    if drawn.frames:  # the words before and between the frames are another test's
        tail = len(tokenizer.encode(asked[0].question, add_special_tokens=False))
        begin = prompt.answers[0].start - tail
        ours, wanted = ours[len(prompts.beginning) + begin :], wanted[-(len(ours) - begin) :]
        wanted = wanted[len(wanted) - len(ours) :]
    assert ours == wanted
    assert prompt.row.places.tolist() == [
        len(prompts.beginning) + place for place in range(len(prompt.tokens))
    ]


def plan(work: Path, small: Path, source: Path, rank: int) -> Plan:
    settings = load(settings_file(work, f"[reading]\nrank = {rank}\n"))
    return Plan(work, 2, small, settings, 0, 0, 0, source, nice=False)


def test_it_goes_on_from_the_adapter_of_weights(
    small: Path, adapter: Adapter, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    exporting.export(Tower(SMALL), weights, adapter)
    begun, at, optimizer = beginning(plan(tmp_path, small, weights, RANK))
    assert isinstance(begun, Adapter) and at.step == 0 and not optimizer
    assert all(
        torch.equal(it, begun.state_dict()[name]) for name, it in adapter.state_dict().items()
    )
    with pytest.raises(UsageError, match=f"weights has rank {RANK}, the settings say 5"):
        beginning(plan(tmp_path, small, weights, 5))
    wide = Words(small).config["text_config"] | {"intermediate_size": 7}
    with pytest.raises(UsageError, match="adapter of another text model"):
        exporting.load_adapter(weights, wide)
    (weights / "reading" / "adapter_model.safetensors").unlink()
    fresh, *_ = beginning(plan(tmp_path, small, weights, 5))
    assert isinstance(fresh, Adapter) and fresh.rank == 5


def test_a_tower_goes_on_at_the_levels_that_it_has_reached(small: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    tower = Tower(replace(SMALL, width=576))  # as wide as the text model that it is shipped for
    exporting.export(tower, weights, reached={"scene": 1.0, "lettering": 0.55})
    assert exporting.levels(weights) == {"scene": 1.0, "lettering": 0.55}
    settings = replace(load(settings_file(tmp_path)), tower=tower.shape)

    def reached(settings: Settings, phase: int) -> dict[str, float]:
        plan = Plan(tmp_path, phase, small, settings, 0, 0, 0, weights, nice=False)
        return {kind: level for kind, (level, *_) in beginning(plan)[1].ladder.items()}

    assert reached(settings, 1) == reached(settings, 3) == {"scene": 1.0, "lettering": 0.55}
    finer = replace(settings, tower=replace(settings.tower, patch=12, scale=4))
    assert reached(finer, 1) == {}
    (weights / "trained.json").write_text("[1]")
    with pytest.raises(UsageError, match="says no levels: leave it out"):
        exporting.levels(weights)
    exporting.export(tower, weights)
    assert reached(settings, 1) == {}


def test_what_is_answered_is_asked_less(small: Path, tmp_path: Path) -> None:
    asking = Asking(Words(small), SMALL.tokens, load(settings_file(tmp_path)))

    def asked(needs: dict[str, float]) -> Counter[str]:
        wanted = Wanted({"scene": 1.0}, {"scene": 1.0}, needs)
        lessons = asking.lessons(Random(1), wanted, 100, float("inf"))
        assert len(lessons) == 100 and all(one.asked for _, one in lessons)
        return Counter(one.task for _, each in lessons for one in each.asked)

    every = asked({})
    some = asked({"task/position": 0.1, "task/count": 0.0})
    assert some["position"] < 0.3 * every["position"]
    assert some["count"] == 0 < every["count"]
    assert some["describe"] > 0.7 * every["describe"]


@pytest.mark.parametrize("told", [0.0, 0.5, 1.0])
def test_a_step_changes_the_adapter_alone(small: Path, tmp_path: Path, told: float) -> None:
    more = f"[reading]\nrank = {RANK}\nlessons = 4\ntold = {told}\n"
    settings = load(settings_file(tmp_path, more))
    words = Words(small)
    learning = Adapter(words.config["text_config"], RANK)
    tower = Tower(settings.tower).requires_grad_(False)
    trainer = ReadingTrainer(learning, tower, words, settings)
    kinds = trainer.kinds
    even, easy = dict.fromkeys(kinds, 1 / len(kinds)), dict.fromkeys(kinds, 0.0)
    optimizer = torch.optim.AdamW(learning.parameters(), lr=5e-3)
    losses = []
    for _ in range(6):
        report = trainer.step(Random(5), Wanted(even, easy))
        losses.append(report.losses["loss"])
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    assert report.images >= 4 and sum(it.count for it in report.scores.values()) > 0
    # What is told says how well the adapter reads; where nothing is, pictures have to.
    assert any(name.startswith("shown/") for name in report.scores) == (told == 0.5)
    assert all(it.grad is None for it in tower.parameters())
    measured = trainer.measure(0, 1)
    assert {kind for kind in measured.scores if not kind.startswith("task/")} == set(kinds)


@pytest.mark.parametrize("way", ["own", "library"])
def test_without_a_picture_the_engine_answers_as_the_text_model_was(
    small: Path, assembled: Path, way: str
) -> None:
    def loaded(folder: Path, *, own_adapter: bool = True) -> LoadedModel:
        options = LoadOptions(
            *(str(folder), "none", "cpu"),
            dtype="float32",
            native="off",
            library=way == "library",
            own_adapter=own_adapter,
        )
        return load_model(options, ignore_progress)

    def logits(model: LoadedModel, messages: list[Message]) -> torch.Tensor:
        chosen = model.answering(messages)
        ids = chosen.builder.build(messages).ids
        return chosen.text.score(chosen.text.embed(ids), chosen.text.new_cache())

    before, after = loaded(small), loaded(assembled)
    assert before.plain is None and plain_file(assembled) is not None
    words = [user_message("What is the capital of France?")]
    assert torch.equal(logits(before, words), logits(after, words))
    seen = Message(
        "user", (ImagePart(media_from_bytes(encoded("PNG", 9, 9), "p.png")), TextPart("What?"))
    )
    assert after.answering([seen]) is after and after.answering(words) is after.answering(())
    assert (logits(before, [seen]) - logits(after, [seen])).abs().max() > 0.1
    off = loaded(assembled, own_adapter=False)
    assert [it.adapter for it in (before, after, off)] == ["", "", "off"]
    assert [it.own_adapter for it in (before, after, off)] == ["", "reading", "reading"]
    assert torch.equal(logits(off, words), logits(before, words))
    assert off.plain is None and off.answering([seen]) is off
    with pytest.raises(ModelError, match="its own adapter, which is off"):
        wear(off, "birds", small)
    assert (logits(off, [seen]) - logits(after, [seen])).abs().max() > 0.1
