"""When garbage is looked for: not while someone waits for the screen."""

import asyncio
import gc
import time

# A look through everything takes a quarter of a second once a conversation of ten thousand
# messages is open. Python would take it in the midst of scrolling; it is left for quiet times.
_NEVER = 1_000_000
_EVERY = 1.0  # seconds between looks at how busy the program is
_QUIET = 0.05  # share of a processor below which it is quiet
_AFTER = 10  # quiet looks in a row


async def collect_when_quiet() -> None:
    """Leave full garbage collections for when nothing has happened for some seconds.

    What then lives is set aside (`gc.freeze`), so that it costs nothing until the next one.
    """
    before = gc.get_threshold()
    gc.set_threshold(before[0], before[1], _NEVER)
    gc.freeze()
    try:
        quiet = 0
        while True:
            began = time.process_time()
            await asyncio.sleep(_EVERY)
            quiet = quiet + 1 if time.process_time() - began < _QUIET * _EVERY else 0
            if quiet == _AFTER:
                gc.unfreeze()
                gc.collect()
                gc.freeze()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
