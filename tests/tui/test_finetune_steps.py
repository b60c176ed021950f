"""The three steps of /finetune on the screen: data, method, run."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.finetune.logs import asked, write_log
from tests.finetuning import trainer
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote, scripted
from vlmchat.finetune.estimate import Machine
from vlmchat.finetune.job import list_jobs
from vlmchat.finetune.shelf import list_adapters
from vlmchat.tui.screens.finetune.asking import Asking
from vlmchat.tui.screens.finetune.data import DataScreen
from vlmchat.tui.screens.finetune.jobs import JobsScreen
from vlmchat.tui.screens.finetune.method import MethodScreen
from vlmchat.tui.screens.finetune.run import RunScreen
from vlmchat.tui.screens.finetune.sources import Sources
from vlmchat.tui.screens.pager import LogPager
from vlmchat.tui.widgets.field import FieldRow
from vlmchat.tui.widgets.plot import Plot


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of ten rows, and three that cannot be used."""
    folder = tmp_path / "logs"
    folder.mkdir()
    saved(folder / "a.png", 64, 64)
    rows = [asked(f"What [is] {n}?", f"A circle {n}.", "a.png") for n in range(10)]
    rows += [rows[0], asked("Where?", "Here.", "gone.png"), {"x": 1}]
    return write_log(folder / "receipts.jsonl", rows)


@asynccontextmanager
async def tuning(tiny: Path, tmp_path: Path) -> AsyncIterator[Chat]:
    make = scripted(Script([Reply(["Yes."])]), tmp_path)
    async with chatting(make, {"engine": {"model": str(tiny)}}) as chat:
        await chat.ready()
        yield chat


def data(chat: Chat) -> DataScreen:
    assert isinstance(chat.app.screen, DataScreen)
    return chat.app.screen


def said(chat: Chat) -> str:
    return "\n".join(str(line.render()) for line in chat.app.screen.query(".step-said"))


async def read(chat: Chat, command: str) -> DataScreen:
    await chat.ask(command)
    await chat.until(lambda: isinstance(chat.app.screen, DataScreen))
    await chat.until(lambda: not data(chat).reading and "Example" in chat.text())
    return data(chat)


async def to_method(chat: Chat) -> MethodScreen:
    await chat.pilot.press("enter")
    await chat.until(lambda: isinstance(chat.app.screen, MethodScreen))
    screen = chat.app.screen
    assert isinstance(screen, MethodScreen)
    await chat.until(lambda: screen.outcome is not None)
    return screen


async def to_run(chat: Chat) -> RunScreen:
    await to_method(chat)
    await chat.pilot.press("ctrl+s")
    await chat.until(lambda: isinstance(chat.app.screen, RunScreen))
    screen = chat.app.screen
    assert isinstance(screen, RunScreen)
    return screen


async def test_the_data_is_shown_with_what_is_left_out(
    log: Path, tiny_model: Path, tmp_path: Path
) -> None:
    async with tuning(tiny_model, tmp_path) as chat:
        screen = await read(chat, f"/finetune {log}")
        text = chat.text()
        assert "10 of 13 usable" in text
        assert "2 cannot be used, 1 twice or more" in text
        assert "1 found, 1 missing" in text and "11 chat messages" in text
        assert "9 to train on, 1 for validation" in text
        assert "Example 1 of 10 · receipts.jsonl, line 1" in text and "underlined" in text
        assert "⟨" in text  # a picture's tokens
        pane = screen.query_one("#data-text", Static).render()
        spans = [s for s in getattr(pane, "spans", ()) if "underline" in str(s.style)]
        assert [str(pane)[s.start : s.end].strip() for s in spans] == [
            "A circle 0.<end_of_utterance>"
        ]
        await chat.pilot.press("right")
        await chat.until(lambda: "Example 2 of 10" in chat.text() and "What [is] 1?" in chat.text())
        await chat.pilot.press("l")
        await chat.until(lambda: "Rows left out: 1 to 3 of 3" in chat.text())
        flat = " ".join(chat.text().split())
        assert "line 12: “gone.png” does not exist." in flat.replace("│ ", "").replace(" │", "")
        field = screen.query_one("#data-validation_share", Input)
        field.focus()
        field.value = "0.4"
        await chat.pilot.press("enter")
        await chat.until(lambda: "6 to train on, 4 for validation" in chat.text())
        field.focus()
        field.value = "7"
        await chat.pilot.press("enter")
        await chat.until(lambda: "should be less than or equal to 0.9" in said(chat))
        assert field.value == "0.4"
        await chat.pilot.click(offset=(72, 23))  # “Esc closes”, at the foot
        await chat.until(lambda: len(chat.app.screen_stack) == 1)


@pytest.mark.slow
async def test_files_outside_are_asked_about(log: Path, tiny_model: Path, tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / "p.png", 32, 32)
    saved(tmp_path / "x" / "q.png", 40, 40)
    names = ("x/p", "y/p", "x/q", "z/p")
    rows = [asked(f"{n}?", "A dot.", str(tmp_path / f"{n}.png")) for n in names]
    write_log(log, [asked("In?", "Yes.", "a.png"), *rows])
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.ask(f"/finetune {log}")
        for place, key in (("x", "f"), ("y", "n"), ("z", "t")):
            await chat.until(lambda: isinstance(chat.app.screen, Asking))
            await chat.until(_shows(chat, f"{place}/p.png"))
            gone = _gone(chat)
            await chat.pilot.press(key)
            await chat.until(gone)
        await chat.until(lambda: "Example" in chat.text())
        assert "4 of 5 usable" in chat.text() and "1 outside the folder" in chat.text()


def _shows(chat: Chat, text: str) -> Callable[[], bool]:
    return lambda: text in _flat(chat)


def _gone(chat: Chat) -> Callable[[], bool]:
    dialog = chat.app.screen
    return lambda: chat.app.screen is not dialog


def _flat(chat: Chat) -> str:
    return "".join(line.strip(" │╭╮╰╯─") for line in chat.text().splitlines())


async def test_reading_can_be_cancelled(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    go = threading.Event()
    from vlmchat.finetune import preparing

    real = preparing._told

    def slow(found: Iterator[object], reading: object) -> Iterator[object]:
        for item in real(found, reading):  # type: ignore[arg-type]
            yield item
            go.wait(10)

    monkeypatch.setattr(preparing, "_told", slow)
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.ask(f"/finetune {log}")
        await chat.until(lambda: "Reading: 1 rows" in chat.text())
        await chat.pilot.press("escape")
        go.set()
        await chat.until(lambda: "Reading was cancelled" in said(chat))
        await chat.pilot.press("r")
        await chat.until(lambda: "Example 1 of 10" in chat.text())
        await chat.pilot.press("escape")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)


async def test_the_settings_are_checked_and_costed(
    log: Path, tiny_model: Path, tmp_path: Path
) -> None:
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_method(chat)
        assert "of memory" in chat.text() and "speed assumed" in chat.text()
        rows = {row.field.name: row for row in screen.query(FieldRow)}
        assert not rows["beta"].display and not rows["virtual_tokens"].display
        assert isinstance(rows["rank"].editor, Input)
        rows["rank"].editor.focus()
        rows["rank"].editor.value = "0"
        await chat.until(lambda: rows["rank"].editor.has_class("-invalid"))
        assert "rank cannot be '0'" in rows["rank"].error
        rows["rank"].editor.value = "64"
        await chat.pilot.press("enter")
        await chat.until(lambda: screen.flow.settings.rank == 64)
        screen._preset.focus()
        await chat.pilot.press("right")
        await chat.until(lambda: screen.flow.preset == "quick" and rows["rank"].value == 8)
        rows["adapter"].editor.focus()
        await chat.pilot.press("left")  # from lora round to prompt
        await chat.until(lambda: screen.flow.settings.adapter != "lora")
        shown = {name for name, row in rows.items() if row.display}
        assert "virtual_tokens" in shown and "rank" not in shown
        rows["method"].editor.focus()
        await chat.pilot.press("right")
        await chat.until(lambda: screen.flow.settings.method == "dpo")
        await chat.until(lambda: "DPO needs pairs" in said(chat))
        await chat.pilot.press("ctrl+s")
        await chat.pilot.pause()
        assert chat.app.screen is screen and not list_jobs()
        await chat.pilot.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, DataScreen))


async def test_what_does_not_fit_is_refused_and_the_suggestion_taken(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**9]
    monkeypatch.setattr("vlmchat.talk.finetuning.flow.free_memory", lambda device: free[0])
    monkeypatch.setattr("vlmchat.talk.finetuning.flow.memory_of", lambda pid, device: 10**10)
    monkeypatch.setattr(
        "vlmchat.finetune.preparing.here",
        lambda device, base, memory=None: Machine(device, memory, 10**12),
    )
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_method(chat)
        assert screen.outcome is not None and screen.outcome.cost is not None
        free[0] = screen.outcome.cost.memory + 1_000_000
        batch = next(row for row in screen.query(FieldRow) if row.field.name == "batch")
        assert isinstance(batch.editor, Input)
        batch.editor.focus()
        batch.editor.value = "256"
        await chat.pilot.press("enter")
        await chat.until(lambda: "are free" in said(chat))
        assert "Ctrl+T takes that" in said(chat) and "Ctrl+L unloads it" in chat.text()
        await chat.pilot.press("ctrl+l")
        await chat.until(lambda: screen.outcome is not None and screen.outcome.plan is not None)
        assert screen.flow.unload and "is unloaded" in chat.text()
        await chat.pilot.press("ctrl+l")
        await chat.until(lambda: "are free" in said(chat))
        await chat.pilot.press("ctrl+t")
        await chat.until(lambda: screen.outcome is not None and screen.outcome.plan is not None)
        assert screen.flow.settings.batch < 256 and not said(chat)


async def test_a_job_runs_and_its_result_is_used(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--hold-at", "20", "--pace", "0.01")
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_run(chat)
        plot = screen.query_one(Plot)
        await chat.until(lambda: "training loss" in str(plot.render()))
        before = str(plot.render())
        await chat.until(lambda: screen.watch_job.step == 20)
        await chat.until(lambda: str(plot.render()) != before and "◆" in str(plot.render()))
        await chat.until(lambda: "step 20 of 40 (50%)" in chat.text())
        assert "learning rate" in chat.text() and "512 tokens/s" in chat.text()
        assert "[b]answer[/] 2" in chat.text() and "wanted  A circle" in chat.text()
        await chat.pilot.press("p")
        await chat.until(lambda: "paused" in chat.text() and "p resumes" in chat.text())
        await chat.pilot.press("escape")
        await chat.until(lambda: "tuning paused" in chat.text())
        await chat.ask("/finetune")
        await chat.until(lambda: isinstance(chat.app.screen, RunScreen))
        await chat.until(lambda: "p resumes" in chat.text())
        await chat.pilot.press("p")
        await chat.until(lambda: "p pauses" in chat.text())
        (screen.job.folder / "go").touch()
        await chat.until(lambda: "Done (step 40" in said(chat))
        (adapter,) = list_adapters()
        assert adapter.name == "receipts" and adapter.card.job == screen.job.id
        await chat.pilot.press("a")

        def used() -> str | None:
            settings = chat.screen.engine_changer.settings
            return settings.engine.adapter if settings else None

        await chat.until(lambda: used() == str(adapter.folder))
        await chat.until(lambda: any("/adapter receipts" in note for note in chat.notices()))
        assert len(list_adapters()) == 1 and "tuning" not in chat.text().splitlines()[-2]


@pytest.mark.slow
async def test_stopping_keeps_the_best_and_cancelling_is_asked(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--hold-at", "12")
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_run(chat)
        await chat.until(lambda: screen.watch_job.step == 12 and not screen._doing)
        await chat.pilot.press("c")
        await chat.until(lambda: isinstance(chat.app.screen, Asking))
        await chat.pilot.press("n")
        await chat.until(lambda: chat.app.screen is screen)
        assert screen.watch_job.alive
        await chat.pilot.press("s")
        await chat.until(lambda: "Done (step 10" in said(chat))
        assert screen.watch_job.state == "stopped" and len(list_adapters()) == 1
        await chat.pilot.press("escape")
        await read(chat, f"/finetune {log}")
        other = await to_run(chat)
        await chat.until(lambda: other.watch_job.step == 12 and not other._doing)
        await chat.pilot.press("c")
        await chat.until(lambda: isinstance(chat.app.screen, Asking))
        await chat.pilot.press("y")
        await chat.until(lambda: "cancelled" in chat.text())
        await chat.pilot.press("escape")
        await chat.until(lambda: any("was cancelled" in note for note in chat.notices()))
        assert len(list_adapters()) == 1


async def test_a_failure_is_told_and_the_log_is_a_key_away(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--fail-at", "7")
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_run(chat)
        await chat.until(lambda: "did not suffice [for this]" in said(chat))
        await chat.pilot.press("l")
        await chat.until(lambda: isinstance(chat.app.screen, LogPager))
        await chat.until(lambda: "fake trainer [red]log[/red]" in chat.text())
        await chat.pilot.press("escape")
        trainer(monkeypatch)
        await chat.until(lambda: chat.app.screen is screen and "p goes on" in chat.text())
        await chat.pilot.press("p")
        await chat.until(lambda: "Done (step 40" in said(chat))
        assert any("ended with an error" in note for note in chat.errors())


async def test_a_job_outlives_the_chat_and_is_found(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--hold-at", "20")
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_run(chat)
        await chat.until(lambda: screen.watch_job.step == 20)
    assert screen.job.alive()
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.until(lambda: any("is being trained" in note for note in chat.notices()))
        await chat.until(lambda: "tuning 50 %" in chat.text())
        await chat.pilot.press("f9")
        await chat.until(lambda: isinstance(chat.app.screen, RunScreen))
    (screen.job.folder / "go").touch()
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.until(lambda: any("is done" in note for note in chat.notices()))
        assert len(list_adapters()) == 1
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.pilot.pause()
        assert not any("is done" in note for note in chat.notices())


@pytest.mark.slow
async def test_a_killed_job_goes_on_and_jobs_are_deleted(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    trainer(monkeypatch, "--hold-at", "13")
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_run(chat)
        await chat.until(lambda: screen.watch_job.step == 13)
        pid = screen.job.pid()
        assert pid is not None
        os.kill(pid, 9)
        await chat.until(lambda: "The trainer is gone" in said(chat))
    trainer(monkeypatch)
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.until(lambda: any("was left by its trainer" in one for one in chat.notices()))
        await chat.ask("/jobs")
        await chat.until(lambda: isinstance(chat.app.screen, JobsScreen))
        await chat.until(lambda: "left by its trainer" in chat.text() and "sft on 9" in chat.text())
        await chat.pilot.press("r")
        await chat.until(lambda: isinstance(chat.app.screen, RunScreen))
        await chat.until(lambda: "Done (step 40" in said(chat))
        watch = chat.app.screen
        assert isinstance(watch, RunScreen)
        steps = [step for step, _ in watch.watch_job.training]
        assert steps == list(range(1, 41))
        await chat.pilot.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, JobsScreen))
        await chat.pilot.press("d")
        await chat.until(lambda: isinstance(chat.app.screen, Asking))
        await chat.pilot.press("y")
        await chat.until(lambda: "There is no job yet" in chat.text())
        assert not list_jobs() and len(list_adapters()) == 1
        await chat.pilot.press("escape")
        await chat.ask("/jobs nosuch")
        await chat.until(lambda: any("There is no job" in one for one in chat.errors()))


async def test_the_engine_is_unloaded_while_a_job_runs(
    log: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(monkeypatch, "--hold-at", "10")
    async with tuning(tiny_model, tmp_path) as chat:
        await read(chat, f"/finetune {log}")
        screen = await to_method(chat)
        screen.flow.unload = True
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: chat.session.engine.status.stage == "unloaded")
        await chat.until(lambda: isinstance(chat.app.screen, RunScreen))
        assert chat.local.pid is None
        run = chat.app.screen
        assert isinstance(run, RunScreen)
        await chat.until(lambda: run.watch_job.step == 10)
        await chat.pilot.press("escape")
        await chat.until(lambda: "○ unloaded · tuning" in chat.text())
        await chat.ask("Are you there?")
        await chat.until(lambda: chat.session.queue)
        (run.job.folder / "go").touch()
        await chat.answered()
        assert chat.replies[0].text == "Yes." and not chat.errors()


async def test_rated_replies_teach_without_a_file(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tuning(tiny_model, tmp_path) as chat:
        await chat.ask("One?")
        await chat.answered(1)
        await chat.ask("Two?")
        await chat.answered(2)
        await chat.ask("/good")
        await chat.ask("/finetune")
        await chat.until(lambda: isinstance(chat.app.screen, Sources))
        await chat.until(lambda: "All conversations" in chat.text() and "○ One?" in chat.text())
        await chat.pilot.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, DataScreen))
        await chat.until(lambda: "Example 1 of 2" in chat.text())
        assert "1 answers" in chat.text() and "1 good or bad answers" in chat.text()
        await chat.pilot.press("u")
        await chat.until(lambda: "2 answers" in chat.text())
        await chat.pilot.press("escape")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)
        await chat.ask("/finetune")
        await chat.until(lambda: "○ One?" in chat.text())
        await chat.pilot.press("end", "space")
        await chat.until(lambda: "● One?" in chat.text())
        await chat.pilot.press("enter")
        await chat.until(lambda: "Example 1 of 2" in chat.text())


async def test_a_model_elsewhere_is_not_tuned() -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("/finetune")
            await chat.until(lambda: any("on this machine" in one for one in chat.errors()))
