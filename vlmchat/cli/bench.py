"""``vlmchat bench``: how fast this machine answers, beside transformers' ``generate``."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from vlmchat.cli import options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides
from vlmchat.errors import EngineError, UsageError
from vlmchat.text import human_bytes, visible_line
from vlmchat.wire import ENGINE_ENVIRONMENT

if TYPE_CHECKING:
    from vlmchat.settings import EngineSettings

# The engine's process: importing it here would bring PyTorch along.
COMMAND = (sys.executable, "-m", "vlmchat.engine.benching")
_Row: TypeAlias = tuple[str, str, str, str]
_Side: TypeAlias = dict[str, Any]


def bench(
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and smaller measurements: about a minute.")
    ] = False,
    no_library: Annotated[
        bool, typer.Option("--no-library", help="Do not measure transformers beside it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the local engine, and transformers' `generate` with the same model.

    Load time, pictures, reading, first and second answers, tokens a second behind contexts of
    several lengths, memory, and how far a quantized model agrees with the whole one.
    """
    from vlmchat.settings import load_settings

    engine = engine_overrides(
        model=model,
        quant=quant,
        device=device,
        adapter=adapter or None,
        url=None,
        api_key=None,
        threads=threads,
        native=native,
    )
    settings = load_settings({"engine": engine}).engine
    if settings.url:
        raise UsageError(
            "The settings name another engine (engine.url): name a --model to measure it here."
        )
    with quiet_endings(), _telling() as tell:
        result = measure(settings, quick, library=not no_library, tell=tell)
    if as_json:
        print(json.dumps(result, ensure_ascii=False, indent=1))
    else:
        _print(result)


def measure(
    engine: "EngineSettings", quick: bool, library: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures of both sides, one after the other.

    Args:
        engine: what to measure.
        quick: fewer and smaller measurements.
        library: whether transformers is measured, too.
        tell: is told what is being done.

    Raises:
        EngineError: a side could not be measured.
    """
    from vlmchat.models.adapter import for_engine

    arguments = ["--device", engine.device, "--quant", engine.quant]
    arguments += ["--threads", str(engine.threads), "--native", engine.native]
    arguments += ["--model", engine.model] if engine.model else []
    arguments += ["--quick"] if quick else []
    adapter = for_engine(engine.adapter)
    own = ["--adapter", adapter] if adapter else []
    result = {"ours": _side([*arguments, *own], "vlmchat", tell)}
    if library:
        result["library"] = _side([*arguments, "--side", "library"], "transformers", tell)
        result["times_faster"] = times_faster(result["ours"], result["library"])
    return result


def _side(arguments: Sequence[str], name: str, tell: Callable[[str], None]) -> _Side:
    from vlmchat import paths

    log = paths.log_dir() / "bench.log"
    found: dict[str, Any] = {}
    with log.open("ab") as errors, _child([*COMMAND, *arguments], errors) as process:
        assert process.stdout is not None
        for row in map(json.loads, process.stdout):
            if "text" in row:
                tell(f"{name}: {row['text']}")
            found |= row
    if "error" in found:
        raise EngineError(found["error"])
    if "result" not in found:
        raise EngineError(f"Measuring {name} broke off: the reason is at the end of {log}.")
    side: _Side = found["result"]
    return side


@contextlib.contextmanager
def _child(command: Sequence[str], log: Any) -> Iterator["subprocess.Popen[bytes]"]:  # noqa: ANN401
    """Start a process that does not outlive the block, however that ends.

    A terminal's Ctrl+C is for this process alone, which then ends the other.
    """
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=log,
        env={**ENGINE_ENVIRONMENT, **os.environ},
        start_new_session=True,
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def times_faster(ours: _Side, library: _Side) -> dict[str, Any]:
    """Return by how much each figure of ours is better; of those that are compared."""
    result: dict[str, Any] = {}
    for name in ("encode_s_per_tile", "first_token_s", "follow_up_s"):
        both = ours[name].keys() & library[name].keys()
        result[name] = {key: library[name][key] / ours[name][key] for key in sorted(both, key=int)}
    name = "decode_tokens_per_s"
    both = ours[name].keys() & library[name].keys()
    result[name] = {key: ours[name][key] / library[name][key] for key in sorted(both, key=int)}
    name = "prefill_tokens_per_s"
    result[name] = ours[name] / library[name]
    if ours["peak_memory_bytes"]:
        result["memory"] = library["peak_memory_bytes"] / ours["peak_memory_bytes"]
    return result


# On the screen ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Yield what shows on standard error what is being done: a bar on a terminal, else lines."""
    if sys.stderr.isatty():
        from vlmchat.cli.loading import Bar

        with Bar() as bar:
            yield lambda text: bar.update(visible_line(text), 0, 0)
        return
    yield lambda text: print(visible_line(text), file=sys.stderr, flush=True)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    ours, library = result["ours"], result.get("library")
    console = Console(highlight=False)
    threads = ours["threads"]
    count = f"{threads} thread{'' if threads == 1 else 's'}"
    facts = (ours["title"], ours["way"], ours["device"], count)
    console.print(Text(" · ".join(map(visible_line, facts)), "bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    heads = ("", "vlmchat", "transformers", "better") if library else ("", "vlmchat")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for row in rows(ours, library, result.get("times_faster", {})):
        table.add_row(*map(Text, row[: len(heads)]))
    console.print(table)
    if agreed := ours.get("agreement"):
        console.print(
            f"\nThe likeliest token is that of the unquantized model for "
            f"{agreed['top1']:.1%} of {agreed['tokens']} tokens (mean KL {agreed['kl']:.4f})."
        )


def rows(ours: _Side, library: _Side | None, times: dict[str, Any]) -> Iterator[_Row]:
    """Yield the table's rows: what, here, there, by how much better."""
    other = library or {}

    def timed(title: str, name: str, key: str | None = None) -> _Row:
        mine, theirs, ratio = (
            it.get(name, {}) if key is None else it.get(name, {}).get(key)
            for it in (ours, other, times)
        )
        return title, _seconds(mine), _seconds(theirs), _times(ratio)

    yield timed("load", "load_s")
    for tiles in ours["encode_s_per_tile"]:
        yield timed(f"a tile of {tiles} encoded", "encode_s_per_tile", tiles)
    for tiles in ours["first_token_s"]:
        yield timed(f"first token, {_tiles(tiles)}", "first_token_s", tiles)
    for tiles in ours["follow_up_s"]:
        yield timed(f"second question, {_tiles(tiles)}", "follow_up_s", tiles)
    name = "prefill_tokens_per_s"
    title = f"read of {ours['prefill_tokens']} tokens"
    yield title, _rate(ours[name]), _rate(other.get(name)), _times(times.get(name))
    name = "decode_tokens_per_s"
    for context, rate in ours[name].items():
        theirs, ratio = (it.get(name, {}).get(context) for it in (other, times))
        yield f"said behind {context} tokens", _rate(rate), _rate(theirs), _times(ratio)
    sizes = [it.get("peak_memory_bytes") for it in (ours, other)]
    shown = [human_bytes(size) if size else "" for size in sizes]
    yield "most memory", shown[0], shown[1], _times(times.get("memory"))


def _tiles(count: str) -> str:
    return "1 tile" if count == "1" else f"{count} tiles"


def _seconds(value: float | dict[str, Any] | None) -> str:
    if not isinstance(value, float):
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.{0 if value >= 100 else 1}f} tok/s"


def _times(value: float | dict[str, Any] | None) -> str:
    if not isinstance(value, float):
        return ""
    return f"{value:.{0 if value >= 10 else 1}f}×"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(bench)
