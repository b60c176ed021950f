"""Fine-tuning in plain mode: the same steps, as questions and answers one after another."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.flow import (
    Allowance,
    Finetuning,
    Origin,
    Outcome,
    begun,
    of_conversations,
    of_files,
    of_this_conversation,
)
from vlmchat.talk.finetuning.following import all_watches, result_words, use_words
from vlmchat.talk.finetuning.summary import (
    cost_words,
    left_out,
    previewed,
    rows_of,
    work_words,
)
from vlmchat.text import human_bytes, visible, visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.job import Job, Request
    from vlmchat.plain.base import Base
    from vlmchat.talk.finetuning.watching import JobWatch

_TOLD_ROWS = 5_000
_LISTED = 50
_REQUESTS: dict[str, "Request"] = {
    "pause": "pause",
    "stop": "stop",
    "cancel": "cancel",
}


async def finetune(plain: "Base", files: Sequence[Path]) -> None:
    """Go through the steps from the data to a job that runs."""
    origin = of_files(files) if files else await _source(plain)
    if origin is None:
        return
    flow = begun(plain.front, origin)
    try:
        if await _data(plain, flow):
            await _method(plain, flow)
    finally:
        await asyncio.to_thread(flow.close)


# Step 1 ----------------------------------------------------------------------------------------


async def _source(plain: "Base") -> Origin | None:
    """Ask which conversations are learned from."""
    front = plain.front
    found: list[tuple[str, Origin]] = []
    if plain.session.tree.roots:
        found.append(("This conversation", of_this_conversation(front)))
    if plain.keeps:
        found.append(("All conversations", of_conversations(front, None, "conversations")))
        for thread in (await plain.conversations.threads())[:_LISTED]:
            title = visible_line(thread.title) or "untitled"
            found.append((title, of_conversations(front, [thread.id], title)))
    if not found:
        plain.notice("There is no conversation to learn from yet: /finetune FILE takes a log.")
        return None
    plain.notice("What you rated good or bad, corrected or found better teaches the model.")
    for number, (name, _) in enumerate(found, 1):
        plain.out.line(f"{number}. {name}")
    number = await plain.choose(len(found), "Number to learn from") or 0
    return found[number - 1][1] if number else None


async def _data(plain: "Base", flow: Finetuning) -> bool:
    """Read, tell what was found, and ask how it is parted; false when nothing comes of it."""
    plain.out.line("Step 1 of 3, data.")
    await _read(plain, flow)
    if not flow.report.usable and not flow.origin.files and not flow.unrated:
        flow.unrated = await plain.agree("Nothing is rated. Learn from unrated replies too?")
        if flow.unrated:
            await _read(plain, flow)
    if not flow.report.usable:
        plain.notice("No row can be used: the reasons stand above.", "error")
        return False
    await _previews(plain, flow)
    for name, what in (
        ("validation_share", "Share of the rows for validation"),
        ("seed", "Seed of the split"),
    ):
        await _set(plain, flow, name, what)
    return True


async def _read(plain: "Base", flow: Finetuning) -> None:
    last = 0

    def told(rows: int) -> None:
        nonlocal last
        if rows >= last + _TOLD_ROWS:
            last = rows
            plain.notice(f"{rows:,} rows are read.")

    async def ask(path: Path) -> Allowance:
        shown = visible_line(str(path))
        text = await plain.next_line(
            f"A row names {shown}, outside the log's folder. Read it? y, n, "
            "folder for all in its folder, none to refuse all: "
        )
        answers: dict[str, Allowance] = {"y": "file", "yes": "file", "folder": "folder"}
        return answers.get((text or "none").strip().lower(), "none" if text is None else "no")

    plain.leave = flow.cancel
    try:
        report = await flow.read(told, ask)
    finally:
        plain.leave = None
    parted = await asyncio.to_thread(flow.parted)
    for name, value in rows_of(report, parted if report.usable else None):
        plain.out.line(f"{name}: {value}")
    dropped = await asyncio.to_thread(left_out, report)
    for item in dropped[:_LISTED]:
        plain.out.line(f"Left out: {item}")
    if len(dropped) > _LISTED:
        plain.notice(f"{len(dropped) - _LISTED:,} more rows are left out.")


async def _previews(plain: "Base", flow: Finetuning) -> None:
    """Show examples as the model gets them, as long as numbers are given."""
    usable = flow.report.usable
    while True:
        number = await plain.choose(len(usable), f"Example to see, 1 to {len(usable):,}")
        if number is None:
            return
        item = usable[number - 1]
        parts = await asyncio.to_thread(lambda: previewed(item.example, flow.base.renderer))  # noqa: B023
        plain.out.line(f"{item.example.source}; what is trained on stands in ⟦ ⟧:")
        for name, spans in parts:
            text = "".join(f"⟦{span.text}⟧" if span.trained else span.text for span in spans)
            plain.out.line(f"{f'{name}: ' if name else ''}{visible(text)}")


# Step 2 ----------------------------------------------------------------------------------------


async def _set(plain: "Base", flow: Finetuning, name: str, what: str) -> None:
    """Ask for the value of a setting; Enter leaves it."""
    present = getattr(flow.settings, name)
    text = await plain.next_line(f"{what}, or Enter for {present}: ")
    if text and text.strip():
        _change(plain, flow, name, text)


def _change(plain: "Base", flow: Finetuning, name: str, text: str) -> None:
    from vlmchat.talk.finetuning.fields import run_fields

    field = run_fields(lambda: flow.settings).get(name.replace("-", "_"))
    if field is None:
        plain.notice(f"There is no setting “{visible_line(name)}”: list shows them.", "error")
        return
    try:
        flow.change(field.name, field.parse(text))
    except VlmchatError as error:
        plain.notice(str(error), "error")


async def _method(plain: "Base", flow: Finetuning) -> None:
    """Ask for preset, settings and name; then make the job and start it."""
    plain.out.line("Step 2 of 3, method.")
    presets = list(flow.presets().items())
    for number, (name, about) in enumerate(presets, 1):
        plain.out.line(f"{number}. {name}: {about}")
    chosen = await plain.choose(len(presets), f"Number of a preset instead of {flow.preset}")
    if chosen is not None:
        flow.use_preset(presets[chosen - 1][0])
    outcome = await _settings(plain, flow)
    if outcome is None or outcome.plan is None:
        plain.notice("Nothing was started.")
        return
    begun_with = visible_line(flow.origin.title)
    name = (await plain.next_line(f"Name of the job, or Enter for {begun_with}: ") or "").strip()
    if not await plain.agree("Start it?"):
        plain.notice("Nothing was started.")
        return
    job = await flow.create(name or begun_with, outcome)
    await plain.front.following.start(job, unload=flow.unload)
    plain.out.line(
        f"Step 3 of 3: the job “{visible_line(job.id)}” runs, also when this chat is closed. "
        "/jobs shows it."
    )


async def _settings(plain: "Base", flow: Finetuning) -> Outcome | None:
    """Tell what the settings come to, and take changes until the person goes on."""
    while True:
        outcome = await flow.plan()
        _tell(plain, flow, outcome)
        text = await plain.next_line(
            "A setting as NAME VALUE, list for all, "
            f"{'fit to take what fits, ' if outcome.suggestion else ''}"
            f"{'unload to unload the engine, ' if outcome.engine else ''}"
            f"{'Enter to go on' if outcome.plan else 'Enter to leave'}: "
        )
        words = (text or "").split(None, 1)
        if not words:
            return outcome if text is not None else None
        if words[0] == "list":
            for name in type(flow.settings).model_fields:
                plain.out.line(f"{name}: {getattr(flow.settings, name)}")
        elif words[0] == "fit" and outcome.suggestion is not None:
            flow.take(outcome.suggestion)
        elif words[0] == "unload" and outcome.engine:
            flow.unload = True
        elif len(words) == 1:
            plain.notice("Write the name of a setting and its value.", "error")
        else:
            _change(plain, flow, *words)


def _tell(plain: "Base", flow: Finetuning, outcome: Outcome) -> None:
    settings = flow.settings
    plain.out.line(
        f"Settings: {settings.method}, {settings.adapter}, rank {settings.rank}, "
        f"{settings.epochs:g} epochs, learning rate {settings.rate:g}."
    )
    if outcome.cost is not None:
        plain.out.line(f"Estimate: {cost_words(outcome.cost)}.")
        if outcome.plan is not None:
            plain.out.line(f"Work: {work_words(outcome.cost, outcome.plan.work.rows)}.")
    if outcome.error:
        plain.notice(outcome.error, "error")
    if outcome.engine:
        plain.notice(f"The chat's engine takes {human_bytes(outcome.engine)} of memory.")


# Step 3, and jobs ------------------------------------------------------------------------------


async def jobs(plain: "Base", name: str) -> None:
    """List the jobs, or tell of one, and do what the person wants with it."""
    found = await asyncio.to_thread(all_watches)
    if name:
        from vlmchat.finetune.job import open_job
        from vlmchat.talk.finetuning.watching import JobWatch

        watch = JobWatch(await asyncio.to_thread(open_job, name))
        await asyncio.to_thread(watch.update)
        await _one(plain, watch)
        return
    if not found:
        plain.notice("There is no job yet: /finetune makes one.")
        return
    for number, watch in enumerate(found, 1):
        plain.out.line(f"{number}. {visible_line(watch.job.id)}: {watch.where()}")
    number = await plain.choose(len(found), "Number to open") or 0
    if number:
        await _one(plain, found[number - 1])


async def _one(plain: "Base", watch: "JobWatch") -> None:
    name = visible_line(watch.job.id)
    plain.out.line(f"Job {name}: {watch.where()}")
    for line in (watch.losses(), watch.figures()):
        if line:
            plain.out.line(f"Job {name}: {line}")
    for index, said in sorted(watch.samples.items()):
        step, answer = said[-1]
        shown = visible_line(answer.strip()) or "(nothing)"
        plain.out.line(f"Answer to validation row {index + 1} at step {step:,}: {shown}")
    if watch.error is not None and watch.state == "failed":
        plain.notice(visible_line(watch.error.message), "error")
    if watch.result and not watch.alive:
        from vlmchat.finetune.adopting import adopt_once

        adapter = await asyncio.to_thread(adopt_once, watch.job)
        plain.notice(f"It is done{result_words(watch)}: {use_words(adapter)}")
    ways = _ways(watch)
    text = await plain.next_line(f"{', '.join(ways)}, or Enter for none: ")
    word = (text or "").strip().lower()
    if word in ways:
        await _do(plain, watch.job, word, watch)
    elif text and text.strip():
        plain.push(text)


def _ways(watch: "JobWatch") -> list[str]:
    if watch.alive:
        first = "resume" if watch.state == "paused" else "pause"
        return [first, "stop", "cancel", "log"]
    goes_on = watch.state in ("paused", "dead", "failed", "prepared")
    return [*(("resume",) if goes_on else ()), "delete", "log"]


async def _do(plain: "Base", job: "Job", word: str, watch: "JobWatch") -> None:
    if word == "log":
        tail = visible(await asyncio.to_thread(watch.log_tail)).strip()
        plain.out.line(tail or "The log is empty.")
    elif word == "delete":
        if await plain.agree("Delete the job with its data and checkpoints?"):
            await asyncio.to_thread(job.delete)
            plain.notice("It is deleted; an adapter that is on the shelf stays there.")
    elif word == "resume" and not watch.alive:
        await plain.front.following.start(job)
        plain.notice("The trainer goes on.")
    elif word != "cancel" or await plain.agree("Cancel it, without an adapter?"):
        request: Request = "resume" if word == "resume" else _REQUESTS[word]
        await asyncio.to_thread(job.ask, request)
        plain.notice(f"The trainer is asked to {word}.")
