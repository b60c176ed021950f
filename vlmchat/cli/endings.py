"""The two ways of being stopped that are no errors."""

import contextlib
import os
from collections.abc import Iterator

import typer

INTERRUPTED = 130
READER_GONE = 141


@contextlib.contextmanager
def quiet_endings() -> Iterator[None]:
    """Exit without a word when the person presses Ctrl+C, or whoever read our output has gone.

    The codes are the shell's own for SIGINT and SIGPIPE. The parsing library would otherwise turn
    both into exit code 1.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
        raise typer.Exit(READER_GONE) from None
