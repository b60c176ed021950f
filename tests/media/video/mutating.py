"""A program that reads mutated videos, to be run in a process of its own.

    python -m tests.media.video.mutating FOLDER FIRST COUNT

It says the seed before each file, so that a crash or a hang has a name, and at the end the most
memory and time that one took.
"""

import faulthandler
import random
import resource
import sys
import time
from pathlib import Path

from vlmchat.errors import MediaError
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.plan import Method, Sampling
from vlmchat.media.video.probing import probe
from vlmchat.media.video.sampling import sample

METHODS: tuple[Method, ...] = ("uniform", "keyframes", "scenes")
LIMITS = VideoLimits(decode_seconds=5, threads=1, max_pixels=8_300_000)
MEMORY = 1_000_000_000  # bytes beyond what the program itself needs
SECONDS = 10.0


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with some bytes changed, cut out, doubled or moved."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        # Headers are where the trouble is.
        reach = chance.choice((64, 1024, len(out)))
        at = chance.randrange(min(reach, len(out)))
        if chance.random() < 0.2:
            at = len(out) - 1 - at
        size = min(chance.choice((1, 1, 2, 4, 8, 64)), len(out) - at)
        kind = chance.randrange(7)
        if kind <= 2:
            out[at : at + size] = chance.randbytes(size)
        elif kind == 3:
            out[at : at + size] = chance.choice((b"\0", b"\xff", b"\x7f")) * size
        elif kind == 4:
            del out[at : at + size]
        elif kind == 5:
            out[at:at] = out[at : at + size]
        else:
            other = chance.randrange(len(out))
            out[at : at + size] = out[other : other + size]
        if len(out) < 16:
            break
    return bytes(out[: chance.randrange(1, len(out))] if chance.random() < 0.1 else out)


def look(path: Path, seed: int) -> None:
    """Read one file in every way; a sentence is an answer, anything else is not."""
    try:
        probe(path, LIMITS, scan=True)
    except MediaError as error:
        checked(error)
    try:
        rule = Sampling(METHODS[seed % 3], fps=4, max_frames=8)
        got = sample(path, rule, 64, LIMITS)
    except MediaError as error:
        checked(error)
        return
    times = [frame.time for frame in got.frames]
    assert times == sorted(set(times)) or got.notes or len(times) <= 8
    assert all(f.image.mode == "RGB" and max(f.image.size) <= 64 for f in got.frames)


def checked(error: MediaError) -> None:
    """Hold an answer to be one sentence."""
    text = str(error)
    assert text.endswith(".") and "\n" not in text and len(text) < 400, text


def main() -> None:
    """Read mutated files, one a seed."""
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    originals = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    slowest, path = 0.0, folder / "mutated" / f"{first}.bin"
    path.parent.mkdir(exist_ok=True)
    for seed in range(first, first + count):
        chance = random.Random(seed)
        path.write_bytes(mutated(originals[seed % len(originals)], chance))
        print("seed", seed, flush=True)
        faulthandler.dump_traceback_later(SECONDS * 2, exit=True)
        began = time.monotonic()
        look(path, seed)
        slowest = max(slowest, time.monotonic() - began)
        assert slowest < SECONDS, f"{slowest} seconds"
    faulthandler.cancel_dump_traceback_later()
    path.unlink()
    # The resource module's figure begins with the parent's at the fork; this one does not.
    status = Path("/proc/self/status").read_text() if pages else "VmHWM: 0"
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert peak < MEMORY, peak
    print(f"done: {slowest:.1f} s, {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
