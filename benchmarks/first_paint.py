"""How long `vlmchat` takes from process start to its first paint.

Starts the program in a pseudo-terminal, reads its output through a terminal emulator, and stops
the clock when the composer's placeholder is on the screen. A second kind of run, under
``python -X importtime``, lists what was imported by then.

    python benchmarks/first_paint.py --runs 9
"""

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pexpect
import pyte

PLACEHOLDER = "Ask something"
HEAVY = ("torch", "transformers", "PIL", "av", "numpy", "httpx2", "pydantic", "pydantic_settings")
IMPORTED = re.compile(rb"import time:\s+\d+ \|\s+\d+ \|\s+([\w.]+)")
COLUMNS, ROWS = 80, 24


def first_paint(command: list[str], home: Path) -> tuple[float, bytes]:
    """Return the seconds from starting `command` to the placeholder being on the screen.

    Also returns all that the program had written by then.
    """
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    environment = {**os.environ, "VLMCHAT_HOME": str(home), "TERM": "xterm-256color"}
    written = b""
    began = time.perf_counter()
    child = pexpect.spawn(
        command[0], command[1:], env=environment, dimensions=(ROWS, COLUMNS), timeout=30
    )
    try:
        while True:
            piece = child.read_nonblocking(65536, timeout=30)
            written += piece
            stream.feed(piece)
            if any(PLACEHOLDER in line for line in screen.display):
                return time.perf_counter() - began, written
    finally:
        child.close(force=True)


def imported_by_then(command: list[str], home: Path) -> list[str]:
    """Return which of `HEAVY` the program imported before it painted.

    The interpreter writes its import log to the terminal, among what the program draws.
    """
    _, written = first_paint([sys.executable, "-X", "importtime", *command], home)
    names = {name.decode().partition(".")[0] for name in IMPORTED.findall(written)}
    if "textual" not in names:
        raise SystemExit("The import log was not understood: nothing can be said of it.")
    return [name for name in HEAVY if name in names]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=7, help="how many starts (default 7)")
    parser.add_argument("--limit", type=float, default=0.5, help="seconds allowed (default 0.5)")
    parser.add_argument("arguments", nargs="*", help="arguments for vlmchat")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        command = [shutil.which("vlmchat") or "vlmchat", *options.arguments]
        first_paint(command, home)  # warms the disk cache
        times = [first_paint(command, home)[0] for _ in range(options.runs)]
        heavy = imported_by_then(command, home)
    median = statistics.median(times)
    print(f"first paint, seconds: {' '.join(f'{value:.3f}' for value in times)}")
    print(f"median {median:.3f} s, best {min(times):.3f} s (allowed {options.limit} s)")
    print(f"imported before it: {', '.join(heavy) or 'none'} of {', '.join(HEAVY)}")
    sys.exit(median > options.limit or bool({"torch", "transformers", "PIL"} & set(heavy)))


if __name__ == "__main__":
    main()
