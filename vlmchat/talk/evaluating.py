"""Evaluating: the questions of a set put to the model that answers now, while the chat goes on.

One question at a time is under way, so that what the person asks meanwhile waits for no more than
one answer. The report is shown, and kept in a folder of its own.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError, VlmchatError
from vlmchat.talk.longer import LongWork, StoppedError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from vlmchat.chat.messages import Message
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.evaluate.items import EvalSet, Wording
    from vlmchat.evaluate.metrics.registry import Metric
    from vlmchat.evaluate.report import Report
    from vlmchat.evaluate.rows import Head, Row
    from vlmchat.evaluate.running import Run, Said
    from vlmchat.talk.front import Front

RATED = "rated"  # stands for the person's own rated conversations
MAX_TOKENS = 64
_SHOWN_WRONG = 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be evaluated.

    Attributes:
        source: file of the set; ``None`` for the person's own rated conversations.
        metric: by name; empty for the one that suits the set.
        limit: questions that are drawn; ``None`` for all.
    """

    source: Path | None
    metric: str = ""
    limit: int | None = None


def parse(words: list[str]) -> Wish:
    """Return what ``/eval SET [METRIC] [NUMBER]`` says.

    Raises:
        UsageError: it makes no sense.
    """
    from vlmchat.evaluate.metrics.registry import metric_named
    from vlmchat.talk.desktop.pasted import expand

    name, *rest = words
    metric, limit = "", None
    for word in rest:
        if word.isascii() and word.isdecimal() and 0 < int(word) < 1_000_000_000:
            limit = int(word)
        else:
            metric = metric_named(word).name
    path = expand(name)
    return Wish(None if name == RATED and not path.exists() else path, metric, limit)


class Evaluating(LongWork):
    """Evaluates one set at a time for a front.

    Args:
        front: whose engine answers.

    Attributes:
        report: the last one.
        title: of what is evaluated, or was.
        done: questions that are answered.
        total: questions of the set; 0 while it is being read.
    """

    def __init__(self, front: "Front") -> None:
        super().__init__(front)
        self._sum = 0.0
        self._metric: Metric | None = None
        self.report: Report | None = None
        self.title = ""
        self.done = 0
        self.total = 0

    @property
    def label(self) -> str:
        """How far it is, in a word or two for the status bar; empty while nothing is evaluated."""
        return f"eval {self.done}/{self.total}" if self.active else ""

    def start(self, wish: Wish) -> None:
        """Begin.

        Raises:
            UsageError: something is being evaluated already.
        """
        if self.active:
            raise UsageError(f"{self.title} is being evaluated: /eval stop ends that.")
        name = wish.source.name if wish.source else "your rated conversations"
        self.title, self.report = visible_line(name), None
        self.done, self.total, self._sum, self._metric = 0, 0, 0.0, None
        self._begin(self._run(wish))

    def lines(self) -> list[str]:
        """Return how it stands, as lines: the report once there is one."""
        if self.report is not None:
            return self.report.lines(_SHOWN_WRONG)
        if not self.active:
            return ["Nothing was evaluated yet: /eval questions.jsonl begins."]
        if not self.total:
            return [f"{self.title} is being read."]
        found = [f"{self.title}: {self.done:,} of {self.total:,} questions are answered."]
        if self.done and self._metric is not None and self._metric.name != "cider":
            mean = 100 * self._sum / self.done
            found.append(f"So far {mean:.1f} ({self._metric.title}).")
        if self._stopping:
            found.append("It stops after the answer that is under way.")
        return found

    # The work ---------------------------------------------------------------------------------

    async def _run(self, wish: Wish) -> None:
        model = await self._ready()
        opened = _opened(wish)
        questions = await asyncio.to_thread(opened.__enter__)
        try:
            await self._evaluated(wish, questions, model)
        finally:
            await asyncio.to_thread(opened.__exit__, None, None, None)

    async def _evaluated(self, wish: Wish, questions: "EvalSet", model: "ModelInfo") -> None:
        from vlmchat.evaluate.items import Wording
        from vlmchat.evaluate.metrics.registry import metric_named
        from vlmchat.evaluate.running import Run

        drawn = questions.drawn(wish.limit, 0)
        self._metric = metric = metric_named(wish.metric or drawn.metric)
        for item in drawn.items:
            metric.check(item.question, item.answers, item.options)
        self.total = len(drawn.items)
        wording = Wording(drawn.suffix)
        run = Run(drawn.items, wording, lambda messages: self._ask(messages, model))
        run.step = lambda row: self._step(row, run)
        self._front.notice(
            f"Evaluating {self.title}: {self.total:,} questions, {metric.title}. /eval shows how "
            "it stands, /eval stop ends it."
        )
        self._tell()
        failed = ""
        try:
            await run.run()
        except StoppedError:
            pass
        except VlmchatError as error:
            failed = str(error)
        if run.rows:
            await self._reported(run, drawn, model, wording)
        if failed:
            self._front.notice(failed, "error")
        elif not run.rows:
            self._front.notice("The evaluation was stopped before there was an answer.")

    async def _reported(
        self, run: "Run", questions: "EvalSet", model: "ModelInfo", wording: "Wording"
    ) -> None:
        """Make the report, keep it, and say where."""
        assert self._metric is not None
        head = _head(questions, self._metric, model, wording)
        report = await asyncio.to_thread(_report, head, run, questions, self._metric)
        try:
            kept = await asyncio.to_thread(_keep, report, questions, wording)
            where = f" The answers, and a page with their pictures, are in {visible_line(kept)}."
        except (OSError, VlmchatError) as error:
            where = f" It could not be kept ({visible_line(str(error))})."
        self.report = report
        self._front.notice(" ".join(report.spoken()) + f" /eval shows the wrong answers.{where}")

    def _step(self, row: "Row", run: "Run") -> None:
        self.done += 1
        if self._metric is not None and self._metric.name != "cider" and not row.error:
            self._sum += self._metric.scores([row.judged])[0]
        self._tell()
        if self._stopping and self.done < len(run.items):
            raise StoppedError

    async def _ask(self, messages: "list[Message]", model: "ModelInfo") -> "Said":
        from vlmchat.client.protocol import Sampling
        from vlmchat.evaluate.running import Asker

        now = await self._ready()
        self._check_still(model, "the evaluation ends here")
        engine = self._front.session.engine
        named = engine.kind == "remote" or engine.adapter is not None
        sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
        name = now.id if named else ""
        return await Asker(engine.client, sampling, name, engine.adapter, now.video)(messages)


def _opened(wish: Wish) -> "AbstractContextManager[EvalSet]":
    from vlmchat.evaluate.sets.opening import opened, rated_chats

    return rated_chats() if wish.source is None else opened(wish.source)


def _head(questions: "EvalSet", metric: "Metric", model: "ModelInfo", wording: "Wording") -> "Head":
    from vlmchat.evaluate.rows import Head

    adapter = model.adapter.rpartition("@")[0] or model.adapter
    return Head(
        questions.name,
        questions.kind,
        metric.name,
        f"{model.title} + {adapter}" if adapter else model.title,
        model.parent or model.id,
        model.revision,
        model.quantization,
        model.adapter,
        {"suffix": wording.suffix, "temperature": 0.0, "max_tokens": MAX_TOKENS},
    )


def _report(head: "Head", run: "Run", questions: "EvalSet", metric: "Metric") -> "Report":
    from vlmchat.evaluate.report import Report
    from vlmchat.evaluate.results import result

    rows = run.answered()
    found = result(head, rows, metric)
    left = len(questions.items) - len(rows)
    return Report(questions.name, questions.kind, questions.notes, (found,), stopped=left)


def _keep(report: "Report", questions: "EvalSet", wording: "Wording") -> str:
    """Write answers, figures and page into a folder of their own, and return it; blocking."""
    from vlmchat import paths
    from vlmchat.evaluate.page import page
    from vlmchat.evaluate.rows import Journal
    from vlmchat.finetune.files import free_name, safe_name, write_whole

    above = paths.data_dir() / "evaluations"
    above.mkdir(mode=0o700, exist_ok=True)
    stem = f"{safe_name(Path(report.set).stem)}-{datetime.now().astimezone():%Y-%m-%d-%H%M}"
    folder = above / free_name(above, stem)
    folder.mkdir(mode=0o700)
    [found] = report.results
    Journal(folder / "answers.jsonl", found.head).finish(found.rows)
    figures = json.dumps(report.as_json(), ensure_ascii=False, indent=1) + "\n"
    write_whole(folder / "report.json", figures.encode("utf-8"))
    items = {item.key(wording): item for item in questions.items}
    write_whole(folder / "report.html", page(report, lambda row: items.get(row.key)))
    return str(folder)
