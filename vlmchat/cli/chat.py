"""``vlmchat`` without a subcommand: the chat."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Textual paints at most 60 times a second by default. While an answer streams, a key that comes
# between two paints waits for the next one or two of them, up to 33 ms; that is felt.
_PAINTS_A_SECOND = "240"


def paint_at_once() -> None:
    """Have Textual wait less between two paints; to be called before it is imported."""
    os.environ.setdefault("TEXTUAL_FPS", _PAINTS_A_SECOND)


def run_chat(
    *,
    model: str | None = None,
    quant: str | None = None,
    device: str | None = None,
    adapter: str | None = None,
    threads: int | None = None,
    native: str | None = None,
    engine_url: str | None = None,
    api_key: str | None = None,
    system: str | None = None,
    theme: str | None = None,
    attach: Sequence[Path] = (),
    resume: bool = False,
    plain: bool = False,
    verbose: bool = False,
) -> int:
    """Open the chat and return the program's exit code.

    Where the screen cannot be drawn, the chat is a plain one without being asked to.

    ``None`` means that an option was not given, so that configuration and environment decide.
    """
    paint_at_once()
    from vlmchat.cli.overrides import engine_overrides, given
    from vlmchat.errors import UsageError
    from vlmchat.plain.run import run_plain, why_plain

    overrides = {
        "engine": engine_overrides(
            model=model,
            quant=quant,
            device=device,
            adapter=adapter,
            threads=threads,
            native=native,
            url=engine_url,
            api_key=api_key,
        ),
        "chat": given(system=system),
        "ui": given(theme=theme),
    }
    why = "" if plain else why_plain()
    if plain or why:
        return _told(lambda: run_plain(overrides, attach, resume, verbose, why))
    from vlmchat.tui.terminal import TerminalQuestion

    with TerminalQuestion() as question:
        # The terminal answers while this is being imported.
        from vlmchat.tui.app import ChatApp

        try:
            app = ChatApp(overrides, attach, resume)
        except UsageError as error:
            print(f"vlmchat: {error}", file=sys.stderr)
            return error.exit_code
        app.terminal = question.answer()
    sentence = app.run()
    if sentence:
        print(f"vlmchat: {sentence}", file=sys.stderr)
    return app.return_code or 0


def _told(run: Callable[[], int]) -> int:
    """Return what `run` returns; an error that ends it is told in one sentence."""
    from vlmchat.errors import VlmchatError

    try:
        return run()
    except VlmchatError as error:
        print(f"vlmchat: {error}", file=sys.stderr)
        return error.exit_code
