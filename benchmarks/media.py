"""How fast media are looked at.

Makes a film of about ten minutes (H.264, 1920 × 1080; eleven seconds are encoded and their packets
repeated, with x264's own distance between keyframes) and prints medians beside what is asked:
reading a file's header, and sixteen frames against decoding it whole in the same run. Memory is
the growth of the peak in a process of its own.

    python benchmarks/media.py --runs 3
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

SECONDS, FPS, REPEATS = 11, 25, 55
WIDTH, HEIGHT = 1920, 1080


def film(path: Path) -> Path:
    """Encode some seconds of a moving, grainy picture."""
    chance = np.random.default_rng(1)
    coarse = chance.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    scene = coarse.repeat(8, 0).repeat(8, 1)
    grain = [chance.integers(0, 12, (HEIGHT, WIDTH, 1), dtype=np.uint8) for _ in range(4)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(SECONDS * FPS):
            moved = np.roll(scene, (number, number * 3), (0, 1)) // 2 + grain[number % 4]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(moved, "rgb24")))
        out.mux(stream.encode())
    return path


def repeated(source: Path, path: Path, times: int) -> Path:
    """Write the packets of `source` one time after another."""
    with av.open(str(source)) as src, av.open(str(path), "w") as out:
        stream = src.streams.video[0]
        target = out.add_stream_from_template(stream)
        base = stream.time_base or Fraction(1, FPS)
        packets = [p for p in src.demux(stream) if p.size]
        length = round(SECONDS / base)
        for turn in range(times):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts = (packet.pts or 0) + turn * length
                copy.dts = (packet.dts or 0) + turn * length
                copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
                copy.time_base, copy.stream = base, target
                out.mux(copy)
    return path


def median_ms(runs: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def decode_whole(path: Path) -> int:
    """Decode every frame, as fast as libav does it here."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))


def sixteen(path: Path) -> None:
    from vlmchat.media.video.limits import VideoLimits
    from vlmchat.media.video.plan import Sampling
    from vlmchat.media.video.sampling import sample

    got = sample(path, Sampling(max_frames=16), 512, VideoLimits(decode_seconds=120))
    assert len(got.frames) == 16 and not got.notes, got.notes


def peak_mb() -> float:
    # The resource module's figure begins with the parent's at the fork; this one does not.
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_growth(small: Path, path: Path) -> None:
    """Print by how many megabytes sampling `path` raises the peak; the libraries are in it."""
    from vlmchat.media.video.probing import probe

    probe(small)
    before = peak_mb()
    sixteen(path)
    print(peak_mb() - before)


def growth(small: Path, path: Path) -> float:
    command = [sys.executable, __file__, "--growth", str(small), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def videos(runs: int, folder: Path) -> None:
    """Measure and print the figures of videos."""
    from vlmchat.media.video.probing import probe

    short = film(folder / "short.mp4")
    for suffix in ("mp4", "mkv"):
        path = repeated(short, folder / f"long.{suffix}", REPEATS)
        print(f"{SECONDS * REPEATS} s of H.264 {WIDTH} × {HEIGHT}, {suffix}:")
        took = median_ms(51, partial(probe, path))
        print(f"{took:9.2f} ms  (asked: 5 ms)  probe")
        took = median_ms(runs, partial(sixteen, path))
        print(f"{took:9.0f} ms  sample 16 frames")
        whole = median_ms(1, partial(decode_whole, path))
        print(f"{whole:9.0f} ms  decode it whole")
        print(f"{whole / took:9.1f} ×   (asked: 5 ×)  faster")
        print(f"{growth(short, path):9.1f} MB  (asked: 60 MB)  more memory at the peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--growth", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.growth:
        print_growth(*options.growth)
        return
    with tempfile.TemporaryDirectory() as folder:
        videos(options.runs, Path(folder))


if __name__ == "__main__":
    main()
