"""Train the demo model's eyes: `python -m vlmchat.demo.train --work FOLDER`.

Phase 1 teaches the vision tower to caption drawings in the text model's own embeddings. Phase 2
teaches an adapter of the text model to read them, and may run beside phase 1. Phase 3 teaches the
tower by the answers. A run can be stopped at any time (Ctrl-C, SIGTERM) and goes on from its
checkpoint; ``log.jsonl`` in its folder says how far it is.

    python -m vlmchat.demo.train --work run --phase 1 --minutes 120
    python -m vlmchat.demo.train --work run --phase 2 --minutes 120 --cooldown 20
    python -m vlmchat.demo.train --work run --export weights        as vlmchat/demo/weights
    python -m vlmchat.demo.train --work run --assemble model        a model to ask
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmchat.errors import UsageError, VlmchatError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vlmchat.demo.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder of the run: checkpoints and log")
    add("--phase", type=int, choices=(1, 2, 3), help="what to train (default 1)")
    add("--minutes", type=float, default=0.0, help="for how long (default: until stopped)")
    add("--cooldown", type=float, default=0.0, help="let the rates sink in the last minutes")
    add("--steps", type=int, default=0, help="end with this step of the phase (default: any)")
    add(
        "--from",
        dest="source",
        type=Path,
        help="where there is no checkpoint yet: begin with this one, or with a folder of weights; "
        "with --export and --assemble, the tower where only an adapter was trained",
    )
    add("--settings", type=Path, help="a TOML file with settings that differ from the shipped ones")
    add("--model", type=Path, help="folder of a demo model, for its text model")
    add("--no-nice", action="store_true", help="do not give way to everything else")
    add("--export", type=Path, metavar="FOLDER", help="write the newest weights there and end")
    add("--assemble", type=Path, metavar="FOLDER", help="write a whole model there and end")
    return parser


def run(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    Raises:
        VlmchatError: it cannot be done; one sentence.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if (
        given.cooldown < 0
        or given.minutes < 0
        or (given.minutes and given.cooldown > given.minutes)
    ):
        raise UsageError("A cooldown is a part of the minutes: give --minutes of at least as many.")
    if given.cooldown and not given.minutes:
        raise UsageError("A cooldown needs an end: give --minutes, too.")
    from vlmchat.demo.training import settings, start

    if given.export is not None or given.assemble is not None:
        _written(given)
        return
    start.train(
        start.Plan(
            work=given.work,
            phase=given.phase or 1,
            model=given.model or _demo_model(),
            settings=settings.load(given.settings),
            minutes=given.minutes,
            cooldown=given.cooldown,
            steps=given.steps,
            source=given.source,
            nice=not given.no_nice,
        )
    )


def _written(given: argparse.Namespace) -> None:
    """Write what has been trained as the command line says.

    Raises:
        UsageError: nothing has been trained.
    """
    from vlmchat.demo.training import exporting, state
    from vlmchat.demo.training.words import Words

    phases = (given.phase,) if given.phase in (1, 3) else (3, 1)
    found = [state.path(given.work, phase) for phase in phases]
    newest = next((file for file in found if file.exists()), given.source)
    if newest is None:
        raise UsageError(
            f"There is no checkpoint of a tower in {given.work}: train first, or name weights that "
            "have one with --from."
        )
    tower, reader, adapter = exporting.load(newest), state.path(given.work, 2), None
    if reader.exists():
        config = Words(given.model or _demo_model()).config["text_config"]
        adapter = state.read(reader).laid(config)
    if given.export is not None:
        exporting.export(tower, given.export, adapter, exporting.levels(newest))
    if given.assemble is not None:
        exporting.assemble(tower, given.model or _demo_model(), given.assemble, adapter)
    beside = f", and the adapter of {reader.name}" if adapter is not None else ""
    print(f"{given.assemble or given.export}: the tower of {newest.name}{beside}")


def _demo_model() -> Path:
    from vlmchat.models import demo_model

    return demo_model.ensure(lambda progress: print(progress.text, flush=True))


def main() -> int:
    """Train or export, and return the exit code."""
    from vlmchat.demo.training.numerics import with_large_pages

    with_large_pages()
    try:
        run()
    except VlmchatError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
