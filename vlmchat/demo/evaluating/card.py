"""The demo model's card, made of an evaluation's figures and of nothing else.

Nobody edits the card by hand: it is written again from ``card.json``, which the evaluation wrote.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmchat.demo.evaluating.rows import Evaluation, Row
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

_WHAT = {
    "colour": "What colour is the star?",
    "shape": "What shape is on the left?",
    "count": "How many circles are there? (0 to 6)",
    "position": "Is the square left of the circle? Where is the triangle?",
    "describe": "A whole scene, all facts right",
    "chart-label": "Which bar is highest, lowest?",
    "chart-value": "What is the value of Q3? Within what can be read off the axis",
    "text": "What does the text say? (one or two words, or a number)",
    "object": "What is in the picture? (a pictured animal, food, vehicle, thing)",
    "pair": "Two pictures: which has more circles, what changed?",
    "clip": "4 to 8 frames: which way does the ball move, what appears last?",
    "premise": "What colour is the dog? (there is none: it has to say so)",
    "photo": "What looks like a photograph: its colours and forms, and that this is the demo model",
}
_INTRODUCTION = """\
# The demo model of vlmchat

A small model that answers questions about drawn pictures, so that everything in vlmchat can be
tried and tested where there is no network and no other model. **It is not SmolVLM, and it does not
understand photographs.** This card is written by `python -m vlmchat.demo.evaluate --card` from the
figures in `card.json`, never by hand.

- Architecture: `SmolVLMForConditionalGeneration`, loaded like any other model.
- Text model: SmolLM2-135M-Instruct (Apache-2.0). Without a picture in the conversation it is
  unchanged, and says, token by token, what SmolLM2-135M-Instruct says. With one it answers with a
  LoRA that was trained for this project, merged in when the model is put together.
- Vision tower and connector: trained from scratch for this project on drawings alone.
- Licence of the weights in this package: Apache-2.0."""
_LIMITS = """\
## What it cannot do

- Photographs, paintings, screenshots, handwriting, faces: it has never seen one. It names colours
  and forms that it knows from drawings, and is wrong with confidence. A real model answers there:
  `vlmchat models pull smolvlm2-500m`.
- Large pictures in detail: a picture is one tile however it is attached (`low`, `auto` and `high`
  are the same), so small print is lost.
- Charts other than bar charts, other scripts than Latin, more than six shapes, long texts.
- Reasoning over what it sees beyond the kinds of question in the table. Its general knowledge is
  that of a text model of 135 million parameters.
- Other languages than English."""


def card(evaluation: Evaluation) -> str:
    """Return the card as Markdown."""
    parts = [
        "\n".join((_INTRODUCTION, _sizes(evaluation.model))),
        "\n".join(_accuracy(evaluation)),
        "\n".join(_cost(evaluation)),
        "\n".join(_training(evaluation.training)),
        "\n".join(_data(evaluation)),
        _LIMITS,
        "\n".join(_again(evaluation)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sizes(model: dict[str, Any]) -> str:
    parameters, seen = model["parameters"], model["vision_parameters"]
    revision = f" State: `{model['revision']}`." if model.get("revision") else ""
    return (
        f"- {parameters / 1e6:.1f} million parameters, {seen / 1e6:.1f} million of them vision "
        f"tower and connector.{revision}"
    )


def _accuracy(evaluation: Evaluation) -> Iterator[str]:
    yield "## What it sees\n"
    if not evaluation.rows:
        yield "Nothing has been asked yet."
        return
    yield "| task | for example | goal | exact match | 95 % interval | n | s/answer |"
    yield "|---|---|---|---|---|---|---|"
    for row in evaluation.rows:
        yield _row(row)
    model = evaluation.model
    threads = f", {evaluation.threads} threads" if evaluation.threads else ""
    if evaluation.together > 1:
        threads += f", {evaluation.together} answered at a time"
    adapter = f" with the adapter {model['adapter']}" if model.get("adapter") else ""
    yield ""
    yield (
        f"{evaluation.sentence()} Drawings on seeds that training never uses (seed "
        f"{evaluation.seed}, level {evaluation.level:g}: the widest that is drawn), phrasing "
        f"varied, answers greedy, through the engine itself{adapter} ({model['device']}, "
        f"{model['dtype']}, quantization {model['quantization']}{threads}). Whole answers are "
        "compared, by the rules in `vlmchat/demo/drawing/judging.py`. Intervals are Wilson's."
    )
    if not evaluation.whole:
        yield "\nThis evaluation was not brought to its end."


def _row(row: Row) -> str:
    low, high = row.interval
    goal = "" if row.goal is None else f"{row.goal:.2f}"
    each = row.seconds / row.asked if row.asked else 0.0
    share = f"{row.share:.3f}"
    return (
        f"| {row.task} | {_WHAT.get(row.task, '')} | {goal} | "
        f"{f'**{share}**' if row.verdict == 'reached' else share} | "
        f"{low:.3f} to {high:.3f} | {row.asked} | {each:.2f} |"
    )


def _cost(evaluation: Evaluation) -> Iterator[str]:
    yield "## What a picture costs\n"
    yield (
        f"{evaluation.picture.sentence()} Larger pictures are scaled down to it, whatever their "
        "detail. A clip costs as much for each of its frames, and their times."
    )


def _training(training: dict[str, Any]) -> Iterator[str]:
    yield "## How it was trained\n"
    if not training:
        yield "The log of the training was not at hand when this card was written."
        return
    yield (
        "`python -m vlmchat.demo.train` is the whole recipe, its settings are in "
        "`vlmchat/demo/training/settings.toml`. First each image token learns to be a word of a "
        "caption in the text model's own embedding space, without the text model (phase 1); then a "
        "LoRA learns to answer from such captions, and from what the tower really makes of "
        "pictures (phase 2). Drawings are made while it trains and never come twice; each kind "
        "gets harder as it is learned."
    )
    yield ""
    yield "| phase | steps | pictures | answers | hours |"
    yield "|---|---|---|---|---|"
    for each in training["phases"]:
        answers = f"{each['answers']:,}" if each["answers"] else ""
        figures = f"{each['steps']:,} | {each['pictures']:,} | {answers} | {each['hours']:.1f}"
        yield f"| {each['phase']} | {figures} |"
    if training.get("hardware"):
        yield f"\nHardware: {training['hardware']}."


def _data(evaluation: Evaluation) -> Iterator[str]:
    yield "## What is drawn with\n"
    yield (
        "All pictures are drawings of this project's own code: no photograph, no picture of a "
        "person, nothing collected from the web. Fonts and pictured objects come from packages, "
        "fetched by their registries' own clients and checked by SHA-256:"
    )
    yield ""
    yield "| package | version | registry | what is taken | licence |"
    yield "|---|---|---|---|---|"
    for each in evaluation.data:
        names = ("package", "version", "registry", "taken", "licence")
        yield f"| {' | '.join(each[name] for name in names)} |"


def _again(evaluation: Evaluation) -> Iterator[str]:
    yield "## These figures again\n"
    yield "    python -m vlmchat.demo.drawing.sources"
    yield (
        f"    python -m vlmchat.demo.evaluate --count {evaluation.count} --seed "
        f"{evaluation.seed} --json card.json --card card.md"
    )


# What the trainer says --------------------------------------------------------------------------


def training_of(log: Path, hardware: str = "") -> dict[str, Any]:
    """Return what a trainer's ``log.jsonl`` says: steps, pictures, answers and hours of each phase.

    Args:
        log: of `vlmchat.demo.train`; its lines name ``event``, ``phase``, ``step``, ``images`` and
            ``seconds``, all counted from the phase's beginning, and the ``kinds`` of the last
            steps with their ``count``.
        hardware: what it was trained on, in words.

    Raises:
        UsageError: it cannot be read, or is no such log.
    """
    phases: dict[int, dict[str, Any]] = {}
    try:
        for line in log.read_text("utf-8").splitlines():
            row = json.loads(line)
            if row.get("event") != "step":
                continue
            phase = phases.setdefault(row["phase"], {"phase": row["phase"], "answers": 0})
            hours = round(row["seconds"] / 3600, 3)
            phase |= {"steps": row["step"], "pictures": row["images"], "hours": hours}
            phase["answers"] += _answers(row["kinds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"“{visible_line(str(log))}” is no log of the demo model's trainer "
            f"({visible_line(str(error))})."
        ) from error
    return {"phases": [phases[phase] for phase in sorted(phases)], "hardware": hardware}


def _answers(kinds: dict[str, dict[str, Any]]) -> int:
    """Return how many answers a line tells of; the first phase has captions only."""
    return sum(int(each["count"]) for kind, each in kinds.items() if "task/" in kind)
