"""How good the demo model is: `python -m vlmchat.demo.evaluate`.

Draws examples that nobody has trained on, asks them greedily through the engine's own prompt,
caches and generation, and judges by the rules in `vlmchat.demo.drawing.judging`.

    python -m vlmchat.demo.evaluate --count 500 --json evaluation.json
    python -m vlmchat.demo.evaluate --json evaluation.json --go-on
    python -m vlmchat.demo.evaluate --from evaluation.json --card card.md
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from vlmchat.demo.drawing import sources
from vlmchat.demo.drawing.examples import TASKS
from vlmchat.demo.evaluating import card
from vlmchat.demo.evaluating.rows import Evaluation, Row, read_evaluation, table, wanted_tasks
from vlmchat.demo.evaluating.running import Watcher, drawn, packages, run
from vlmchat.demo.evaluating.sheet import sheet
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.finetune.files import write_whole
from vlmchat.models.progress import Progress
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.demo.evaluating.answering import Answerer

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    result = argparse.ArgumentParser(
        "python -m vlmchat.demo.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--model", default="demo", help="a name, a Hub id or a folder")
    result.add_argument("--adapter", help="of the shelf, or a folder")
    result.add_argument("--tasks", default="", help=f"of {', '.join(TASKS)}; all by default")
    result.add_argument("--count", type=_positive, default=500, help="examples of each task")
    result.add_argument("--seed", type=int, default=0, help="no seed meets one of training")
    result.add_argument("--level", type=_level, default=1.0, help="of the drawings, 0 to 1")
    result.add_argument("--quant", choices=["auto", "none", "8bit", "4bit"], default="none")
    result.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    result.add_argument("--threads", type=int, default=0, help="0 follows the load")
    result.add_argument(
        "--together",
        type=_positive,
        default=8,
        metavar="N",
        help="answered at a time; 1 for what an answer takes alone",
    )
    result.add_argument("--native", choices=["auto", "off"], default="auto")
    result.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    result.add_argument(
        "--go-on", action="store_true", help="go on where the evaluation in --json broke off"
    )
    result.add_argument(
        "--from", dest="known", type=Path, metavar="FILE", help="ask nothing: take these figures"
    )
    result.add_argument("--card", type=Path, metavar="FILE", help="write the model card")
    result.add_argument("--log", type=Path, metavar="FILE", help="of the trainer, for the card")
    result.add_argument("--hardware", default="", help="that it was trained on, for the card")
    result.add_argument(
        "--show-wrong",
        type=int,
        default=0,
        metavar="N",
        help="keep N wrong answers of each task, and show them with pictures beside --json",
    )
    return result


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _level(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("from 0 to 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the arguments say, and return the exit code."""
    options = parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except KeyboardInterrupt:  # nothing had been asked yet
        return _INTERRUPTED
    except VlmchatError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        name = visible_line(str(error.filename or ""))
        print(f"error: “{name}” cannot be written ({error.strerror}).", file=sys.stderr)
        return VlmchatError.exit_code


def _evaluate(options: argparse.Namespace) -> int:
    tasks = wanted_tasks(options.tasks, TASKS)
    if (options.show_wrong or options.go_on) and not options.json and not options.known:
        raise UsageError("--show-wrong and --go-on need --json FILE.")
    if options.known:
        found, interrupted = read_evaluation(options.known), False
        print("\n".join(table(found.rows)))
    else:
        found, interrupted = _asked(options, tasks)
    if options.log:
        found = replace(found, training=card.training_of(options.log, options.hardware))
    print(found.picture.sentence())
    print(found.sentence())
    if options.json:
        found.write(options.json)
    if options.show_wrong:
        _show_wrong(found, options.json or options.known)
    if interrupted:
        print("It was interrupted: these are the figures so far.", file=sys.stderr)
        return _INTERRUPTED
    if options.card:
        write_whole(options.card, card.card(found).encode())
    return 0


def _asked(options: argparse.Namespace, tasks: tuple[str, ...]) -> tuple[Evaluation, bool]:
    """Ask a model; return what was found, and whether somebody interrupted it."""
    from vlmchat.demo.evaluating.answering import Answerer, adapter_folder, load
    from vlmchat.engine.loading import LoadOptions

    wanted = LoadOptions(
        model=options.model,
        quant=options.quant,
        device=options.device,
        adapter=adapter_folder(options.adapter) if options.adapter else None,
        threads=options.threads,
        native=options.native,
    )
    if absent := sources.missing():
        print(
            f"{len(absent)} of {len(sources.PACKAGES)} packages with fonts and pictured objects "
            "were not collected, so that less is drawn: `python -m vlmchat.demo.drawing.sources` "
            "collects them.",
            file=sys.stderr,
        )
    answerer = Answerer(load(wanted, _told))
    _clear()
    start = _start(options, answerer)
    print("\n".join(table(())), flush=True)
    watcher = _watcher(options)
    with _stopped_politely():
        found = start
        try:
            for found in run(start, tasks, answerer, options.show_wrong, watcher):  # noqa: B007
                pass
        except KeyboardInterrupt:
            _clear()
            unfinished = [row for row in found.rows if 0 < row.asked < found.count]
            for row in unfinished:
                print(row.line())
            return found, True
    return found, False


def _start(options: argparse.Namespace, answerer: "Answerer") -> Evaluation:
    """Return what is known before anything is asked.

    Raises:
        UsageError: the evaluation to go on with is of another model, or of other examples.
    """
    new = Evaluation(
        answerer.identity(),
        options.seed,
        options.count,
        options.level,
        answerer.picture_cost(),
        options.threads,
        options.together,
        packages(),
    )
    if not options.go_on or not options.json.exists():
        return new
    known = read_evaluation(options.json)
    if not known.like(new):
        raise UsageError(
            f"The evaluation in “{visible_line(str(options.json))}” is of another model or of "
            "other examples: leave out --go-on to begin anew."
        )
    return replace(known, together=options.together)


def _watcher(options: argparse.Namespace) -> Watcher:
    shown = sys.stderr.isatty()

    def step(row: Row) -> None:
        if shown:
            line = f"{row.task}: {row.right} of {row.asked} right, {options.count} to ask"
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def done(row: Row) -> None:
        _clear()
        print(row.line(), flush=True)

    def save(evaluation: Evaluation) -> None:
        if options.json:
            evaluation.write(options.json)

    return Watcher(step, done, save)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _told(one: Progress) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{one.text} …", end="", file=sys.stderr, flush=True)


@contextmanager
def _stopped_politely() -> Iterator[None]:
    """Take a request to end as Ctrl+C, so that what was found is told."""

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_wrong(found: Evaluation, beside: Path) -> None:
    path = beside.with_name(f"{beside.stem}-wrong.html")
    write_whole(path, sheet(found, lambda task, index: drawn(found, task, index).images))
    print(f"Wrong answers: {path}")


if __name__ == "__main__":
    sys.exit(main())
