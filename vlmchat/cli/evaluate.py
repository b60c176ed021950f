"""``vlmchat eval``: how good a model's answers to a set of questions are, and which of two is."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vlmchat.cli import eval_options as opts
from vlmchat.cli import looking, options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.eval_options import Manner, Wishes
from vlmchat.cli.overrides import engine_overrides
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.cli.evaluating import Side, Wanted
    from vlmchat.evaluate.items import EvalSet
    from vlmchat.evaluate.metrics.registry import Metric
    from vlmchat.evaluate.report import Report
    from vlmchat.evaluate.rows import Head, Row
    from vlmchat.settings import Settings


def evaluate(
    questions: opts.Questions = None,
    metric: opts.MetricName = None,
    compare: opts.Compare = None,
    from_chats: opts.FromChats = False,
    limit: opts.Limit = None,
    seed: opts.Seed = 0,
    pictures: opts.Pictures = None,
    outside: opts.Outside = False,
    suffix: opts.Suffix = None,
    in_flight: opts.InFlight = 4,
    temperature: opts.Temperature = 0.0,
    max_new_tokens: opts.MaxTokens = 64,
    out: opts.Out = None,
    html: opts.Html = None,
    wrong: opts.Wrong = 5,
    as_json: opts.AsJson = False,
    detail: looking.Detail = None,
    system: options.System = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
) -> None:
    """Ask a set of questions and say how good the answers are."""
    if compare and adapter:
        raise UsageError("--compare names the adapters itself: leave --adapter out.")
    wishes = Wishes(
        *(questions, from_chats, metric or "", compare, limit, seed, suffix, pictures, outside),
        *(out, html, wrong, as_json),
    )
    engine = engine_overrides(
        model=model,
        quant=quant,
        device=device,
        adapter=adapter or None,
        url=engine_url,
        api_key=api_key,
        threads=threads,
        native=native,
    )
    manner = Manner(detail, system, in_flight, temperature, max_new_tokens)
    with quiet_endings():
        _check_files(wishes)
        raise typer.Exit(_evaluate(wishes, engine, manner))


def _check_files(wishes: Wishes) -> None:
    """Refuse before anything is asked what could not be written afterwards."""
    for path in (wishes.html, wishes.out):
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"There is no folder to write “{visible_line(str(path))}” to.")
    if wishes.html is not None and not _free(wishes.html):
        raise UsageError(
            f"“{visible_line(str(wishes.html))}” is there and no report: name another file."
        )
    if (wishes.set is not None) == wishes.from_chats and not _only_saved(wishes):
        raise UsageError("Name one set of questions, or --from-chats: vlmchat eval questions.jsonl")


def _free(path: Path) -> bool:
    from vlmchat.evaluate.page import may_be_written

    try:
        return may_be_written(path)
    except OSError:
        return False


def _only_saved(wishes: Wishes) -> bool:
    """Return whether nothing has to be asked: two files of answers are compared."""
    named = wishes.compare or ()
    return len(named) == 2 and wishes.set is None and all(Path(name).is_file() for name in named)


def _evaluate(wishes: Wishes, engine: dict[str, Any], manner: Manner) -> int:
    from vlmchat.evaluate.rows import read_rows
    from vlmchat.settings import load_settings

    settings = load_settings({"engine": engine})
    settings.put_in_force()  # the limits of pictures, before the first is read
    if wishes.set is not None and wishes.compare is None and _is_answers(wishes.set):
        _show(_reported(wishes, [read_rows(wishes.set)], None), wishes, None)
        return 0
    if _only_saved(wishes):
        assert wishes.compare is not None
        found = [read_rows(Path(name)) for name in wishes.compare]
        _show(_reported(wishes, _told_apart(found, wishes.compare), None), wishes, None)
        return 0
    with _opened(wishes) as questions:
        drawn = questions.drawn(wishes.limit, wishes.seed)
        wanted, sides = _wanted(wishes, drawn, settings, manner)
        found = asyncio.run(_answered(sides, drawn, wanted))
        if wishes.compare:
            found = _told_apart(found, wishes.compare)
        report = _reported(wishes, found, drawn)
        _keep_scores(sides, report)
        _show(report, wishes, (drawn, wanted))
    return 0


async def _answered(
    sides: "Sequence[Side]", questions: "EvalSet", wanted: "Wanted"
) -> "list[tuple[Head, list[Row]]]":
    from vlmchat.cli.evaluating import answered

    return await answered(sides, questions, wanted)


def _is_answers(path: Path) -> bool:
    """Return whether a file begins as `vlmchat eval --out` writes it."""
    try:
        with path.open("rb") as file:
            return file.read(32).startswith(b'{"vlmchat_eval"')
    except OSError:
        return False


@contextlib.contextmanager
def _opened(wishes: Wishes) -> "Iterator[EvalSet]":
    from vlmchat.evaluate.sets.opening import Opening, opened, rated_chats

    if wishes.set is None:
        with rated_chats() as questions:
            yield questions
        return
    how = Opening(wishes.pictures, lambda path: wishes.outside)
    with opened(wishes.set, how) as questions:
        yield questions


def _wanted(
    wishes: Wishes, questions: "EvalSet", settings: "Settings", manner: Manner
) -> "tuple[Wanted, list[Side]]":
    from vlmchat.chat.messages import parse_detail
    from vlmchat.cli.asking import Asking
    from vlmchat.cli.evaluating import Wanted, checked, sides_of
    from vlmchat.client.protocol import Sampling
    from vlmchat.evaluate.items import Wording
    from vlmchat.prompts import resolved

    metric = _metric(wishes, questions)
    checked(questions, metric)
    suffix = questions.suffix if wishes.suffix is None else wishes.suffix
    wording = Wording(
        suffix,
        resolved(manner.system or "").strip(),
        None if manner.detail is None else parse_detail(manner.detail),
    )
    # A figure shall not depend on what somebody has set for chatting; nor on the seed where
    # nothing is drawn.
    sampling = Sampling(
        temperature=manner.temperature,
        max_tokens=manner.max_tokens,
        seed=wishes.seed if manner.temperature else None,
    )
    asking = Asking.of(settings)
    sides = sides_of(wishes.compare, wishes.out, asking.url is not None)
    return Wanted(asking, sampling, wording, manner.in_flight, metric), sides


def _metric(wishes: Wishes, questions: "EvalSet | None", head: "Head | None" = None) -> "Metric":
    from vlmchat.evaluate.metrics.registry import metric_named

    own = questions.metric if questions else head.metric if head else "exact"
    return metric_named(wishes.metric or own)


def _told_apart(
    found: "list[tuple[Head, list[Row]]]", names: tuple[str, str]
) -> "list[tuple[Head, list[Row]]]":
    """Return two sides that are not called the same."""
    if found[0][0].label != found[1][0].label:
        return found
    return [
        (replace(head, label=f"{head.label} ({Path(name).name})"), rows)
        for (head, rows), name in zip(found, names, strict=True)
    ]


def _reported(
    wishes: Wishes, found: "list[tuple[Head, list[Row]]]", questions: "EvalSet | None"
) -> "Report":
    from vlmchat.evaluate.report import Report
    from vlmchat.evaluate.results import compare, result

    metric = _metric(wishes, questions, found[0][0])
    results = tuple(result(head, rows, metric, wishes.seed) for head, rows in found)
    comparison = compare(*results, wishes.seed) if len(results) == 2 else None
    if comparison is not None:
        results = (comparison.one, comparison.other)
    head = found[0][0]
    notes = questions.notes if questions else ()
    return Report(head.set, head.kind, notes, results, comparison)


def _keep_scores(sides: "Sequence[Side]", report: "Report") -> None:
    """Write the scores into the files of answers."""
    from vlmchat.evaluate.rows import Journal

    for side, each in zip(sides, report.results, strict=True):
        if side.out is not None and side.kind != "saved":
            Journal(side.out, each.head).finish(each.rows)


def _show(report: "Report", wishes: Wishes, asked: "tuple[EvalSet, Wanted] | None") -> None:
    from vlmchat.evaluate.page import page
    from vlmchat.finetune.files import write_whole

    if wishes.html is not None:
        items = {}
        if asked is not None:
            questions, wanted = asked
            items = {item.key(wanted.wording): item for item in questions.items}
        try:
            write_whole(wishes.html, page(report, lambda row: items.get(row.key)))
        except OSError as error:
            shown = visible_line(str(wishes.html))
            raise UsageError(f"“{shown}” cannot be written ({error.strerror}).") from error
    if wishes.as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
        return
    print("\n".join(report.lines(wishes.wrong)))
    if wishes.html is not None and sys.stderr.isatty():
        print(f"The page is {visible_line(str(wishes.html))}.", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("eval")(evaluate)
