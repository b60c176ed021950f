"""Decodes damaged pictures under limits; run as a program by `test_bad_pictures`.

    python -m tests.media.mutate_pictures FIRST COUNT

Each picture is decided by its number alone. The process is killed at 10 s a picture, and refuses
itself more than 1 GB of memory.
"""

import io
import random
import resource
import signal
import sys
import warnings

from PIL import Image

from tests.pictures import draw
from vlmchat.errors import MediaError
from vlmchat.media.images import is_animated, is_plain, media_from_bytes, media_size, shrunk

SECONDS, MEMORY = 10, 1_000_000_000


def originals() -> list[bytes]:
    """Return small pictures in every format and mode."""
    found: list[bytes] = []
    picture = draw(40, 30)
    for kind, modes in {
        "JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "RGBA", "P", "LA", "1", "I;16"),
        "WEBP": ("RGB", "RGBA"), "GIF": ("P", "L"), "BMP": ("RGB", "P", "1"),
        "TIFF": ("RGB", "CMYK", "F", "LAB", "I"), "PPM": ("RGB", "L"), "AVIF": ("RGB", "RGBA"),
        "JPEG2000": ("RGB", "L"), "ICO": ("RGBA",), "HEIF": ("RGB",),
    }.items():  # fmt: skip
        for mode in modes:
            image = Image.new("LAB", (40, 30)) if mode == "LAB" else picture.convert(mode)
            buffer = io.BytesIO()
            try:
                image.save(buffer, kind)
            except KeyError:  # HEIF is an extra
                continue
            found.append(buffer.getvalue())
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        frames = [draw(40, 30, colour) for colour in ("green", "blue")]
        picture.save(buffer, kind, save_all=True, append_images=frames)
        found.append(buffer.getvalue())
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression="tiff_lzw")
    return [*found, buffer.getvalue()]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with a few bytes changed, most of them early, where the header is."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        reach = min(len(changed), chance.choice((32, 128, 1024, 10**6)))
        if not reach:
            break
        at = chance.randrange(reach)
        what = chance.randrange(6)
        if what == 0:
            changed[at] = chance.randrange(256)
        elif what == 1:
            changed[at] ^= 1 << chance.randrange(8)
        elif what == 2:
            changed[at : at + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
        elif what == 3:
            del changed[at : at + chance.randrange(1, 20)]
        elif what == 4:
            changed[at:at] = chance.randbytes(chance.randrange(1, 20))
        else:
            del changed[at:]
    return bytes(changed)


def main(first: int, count: int) -> int:
    """Go through the pictures; return the exit code."""
    warnings.simplefilter("ignore")
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    whole = originals()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    refused = 0
    for number in range(first, first + count):
        chance = random.Random(number)
        data = mutated(whole[number % len(whole)], chance)
        print(number, end="\r", flush=True)
        signal.alarm(SECONDS)  # unhandled: it ends the process even within a library
        for read in (
            lambda data=data: media_from_bytes(data, "x"),
            lambda data=data: shrunk(data, "x", (16, 16)),
            lambda data=data: (media_size(data, "x"), is_animated(data, "x"), is_plain(data, "x")),
        ):
            try:
                read()
            except MediaError as error:
                refused += 1
                text = str(error)
                if not text.endswith(".") or "\n" in text or not text.startswith("“x” "):
                    print(f"{number}: no sentence: {text!r}")
                    return 1
        signal.alarm(0)
    print(f"\n{count} pictures, {refused} refusals")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
