"""What the snapshots show: saved conversations, pictures, an engine, all with fixed figures."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.finetune.logs import asked, write_log
from tests.finetuning import trainer
from vlmchat import paths
from vlmchat.chat.conversation import Conversation, Entry, Label, Provenance
from vlmchat.chat.messages import Media, Message, TextPart, user_message
from vlmchat.client.protocol import EngineStatus, ModelInfo
from vlmchat.finetune import preparing
from vlmchat.finetune.estimate import Machine
from vlmchat.finetune.job import BaseModelRef
from vlmchat.finetune.preparing import Base
from vlmchat.settings import Settings
from vlmchat.store.store import Store
from vlmchat.talk.engine_keeper import EngineKeeper, NoEngine
from vlmchat.talk.finetuning import flow

NOW = datetime(2025, 3, 14, 12, 0, tzinfo=UTC)
_DAY = 86_400.0
MODEL = ModelInfo(
    "smolvlm2-500m",
    "SmolVLM2 500M",
    "a1b2c3d",
    "8bit",
    "cpu",
    "bfloat16",
    context=8192,
)
READY = EngineStatus("ready", "Ready", model=MODEL)
LOADING = EngineStatus("downloading", "Fetching SmolVLM2 500M", 412_000_000, 1_020_000_000)
LOG = "\n".join(
    [
        *(f"12:00:{n:02} layer {n} of 32 is on the cpu, 8 bits a weight" for n in range(32)),
        "12:00:33 ready: [bold]SmolVLM2 500M[/bold], 8192 tokens of context",
    ]
)


class StillEngine(NoEngine):
    """Stands where the test puts it."""

    def log_tail(self) -> str:
        """Return a log."""
        return LOG

    def stand(self, status: EngineStatus) -> None:
        """Stand there."""
        self._stand(status)


def still_engine(_: Settings) -> EngineKeeper:
    """Return an engine that loads for ever."""
    return StillEngine()


class Clock(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: object = None) -> "Clock":
        """Return the same time always."""
        return cls.fromtimestamp(NOW.timestamp(), UTC)


# Pictures --------------------------------------------------------------------------------------


def lighthouse() -> Image.Image:
    """Return a picture of flat colours, so that every version of Pillow scales it alike."""
    image = Image.new("RGB", (640, 480), "#6fa8dc")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 320, 639, 479), fill="#1c4587")
    pen.polygon(((200, 330), (440, 330), (520, 400), (120, 400)), fill="#7f6000")
    pen.rectangle((290, 120, 350, 330), fill="#ffffff")
    for top in (160, 240):
        pen.rectangle((290, top, 350, top + 40), fill="#cc0000")
    pen.rectangle((300, 80, 340, 120), fill="#ffd966")
    return image


def boats() -> Image.Image:
    """Return a tall picture."""
    image = Image.new("RGB", (300, 400), "#f9cb9c")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 240, 299, 399), fill="#274e13")
    for left, colour in ((30, "#cc0000"), (150, "#ffffff")):
        pen.polygon(
            ((left, 250), (left + 110, 250), (left + 90, 290), (left + 20, 290)), fill=colour
        )
        pen.polygon(((left + 50, 90), (left + 50, 240), (left + 100, 240)), fill="#fff2cc")
    return image


def folder_of_pictures(folder: Path) -> Path:
    """Fill a folder with pictures and other things."""
    folder.mkdir()
    (folder / "harbour in spring").mkdir()
    (folder / "old").mkdir()
    pictures = {"lighthouse": lighthouse(), "boats at noon": boats()}
    for number in range(1, 13):
        size = (40 * number, 30 * number)
        pictures[f"field {number}"] = Image.new("RGB", size, "#38761d")
    for name, image in pictures.items():
        (folder / f"{name}.bmp").write_bytes(encoded(image))
    return folder


def encoded(image: Image.Image) -> bytes:
    """Return the picture as a file whose bytes depend on no library's way of packing."""
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    return buffer.getvalue()


def moving(folder: Path) -> Path:
    """Write an animated picture without loss, which every version decodes alike."""
    frames = []
    for second in range(24):
        frame = lighthouse().resize((160, 120), Image.Resampling.NEAREST)
        ImageDraw.Draw(frame).rectangle((6 * second, 90, 6 * second + 20, 104), fill="#274e13")
        frames.append(frame)
    path = folder / "a boat [1] goes by.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=1000)
    return path


def media(image: Image.Image, name: str) -> Media:
    """Return a picture as an attachment."""
    return Media.held(encoded(image), name, "image/bmp", image.width, image.height)


# Fine-tuning -----------------------------------------------------------------------------------


def log_of_receipts(folder: Path) -> Path:
    """Write a log of 60 rows, and a few that cannot be used."""
    folder.mkdir()
    (folder / "receipt.bmp").write_bytes(encoded(lighthouse().resize((64, 48))))
    (folder.parent / "private.bmp").write_bytes(encoded(lighthouse().resize((32, 24))))
    question = "What is the total of receipt [{}]? Give the figure alone."
    rows = [asked(question.format(n), f"{n},50 euros", "receipt.bmp") for n in range(60)]
    rows += [
        rows[3],
        asked("Where?", "Here.", "lost.bmp"),
        asked("And this?", "A receipt.", "../private.bmp"),
        asked("Too long?", "Yes. " * 1_000),
        {"text": "a row of another kind"},
    ]
    return write_log(folder / "receipts.jsonl", rows)


def machine(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """Have runs planned for a machine of 2 cores, and done by a trainer that stops at a step."""
    base = Base(BaseModelRef("smolvlm2-500m", "a1b2c3d", str(model)), "SmolVLM2 500M")

    def here(device: str, base: Base, memory: int = 0) -> Machine:
        return Machine(device, memory, 50_000_000_000, cores=2)

    monkeypatch.setattr(preparing, "find_base", lambda spec, device: base)
    monkeypatch.setattr(preparing, "here", here)
    monkeypatch.setattr(flow, "free_memory", lambda device: 410_000_000)
    monkeypatch.setattr(flow, "memory_of", lambda pid, device: 1_200_000_000)
    trainer(monkeypatch, "--hold-at", "60", "--steps", "90")


# Conversations ---------------------------------------------------------------------------------

CODE = """\
The lighthouse is the brightest part. This finds the row:

```python
def brightest(rows: list[list[int]]) -> int:
    \"\"\"Return the number of the brightest row.\"\"\"
    sums = [sum(row) for row in rows]
    return sums.index(max(sums))  # the first, if several
```

| picture | pixels | tiles |
|---|---:|---:|
| lighthouse.bmp | 640 × 480 | 4 |
| boats.bmp | 300 × 400 | 1 |

1. The **tower** is white, with *red* bands.
2. The light is on:
   - it shines to the left,
   - and `brightest()` returns row 80.
"""
SHORT = "A lighthouse on a rock, and two boats with white sails."
LONG = (
    "In the first picture stands a lighthouse with red bands on a brown rock, under a blue sky. "
    "The second one shows two sailing boats, a red one and a white one, before a green shore."
)
MIDDLE = (
    "In the first picture stands a lighthouse with red bands on a rock, under a clear sky. "
    "The second one shows two boats, one red and one white, before the shore."
)
SYSTEM = "You describe pictures for a blind person: what matters first, then the colours."


def _made(tokens: int, seed: int) -> Provenance:
    return Provenance(
        {
            "title": MODEL.title,
            "model": "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
            "revision": "7b375e1b73b11138ff12fe22c8f2822d8fe03467",
            "quantization": "8bit",
            "device": "cpu",
            "dtype": "bfloat16",
            "seed": seed,
        },
        {"temperature": 0.2, "top_p": 0.9, "max_tokens": 512},
        SYSTEM,
        "stop",
        1_274,
        tokens,
        1_088,
        {"first_token_seconds": 1.84, "seconds": 6.1, "predicted_per_second": 14.2},
    )


def _at(days: float) -> float:
    return NOW.timestamp() - days * _DAY


def harbour() -> Conversation:
    """Return the conversation that is open."""
    pictures = (
        media(lighthouse(), "lighthouse.bmp"),
        media(boats(), "boats [2].bmp"),
    )
    when = _at(0.01)

    def said(uid: str, parent: str | None, text: str, after: float) -> Entry:
        message = Message("user", (TextPart(text),))
        return Entry(uid, parent, message, "person", "complete", when + after)

    def answer(uid: str, parent: str, text: str, after: float, labels: tuple[Label, ...]) -> Entry:
        message = Message("assistant", (TextPart(text),))
        made = _made(len(text) // 4, int(after))
        return Entry(uid, parent, message, "model", "complete", when + after, made, labels)

    asked = user_message("What do you see in these two pictures?", pictures, "auto")
    better = (Label("good", "", when), Label("better", "a1", when))
    return Conversation(
        "harbour",
        "What do you see in these two pictures?",
        SYSTEM,
        when,
        when + 100,
        tip="a4",
        entries=(
            Entry("q1", None, asked, "person", "complete", when),
            answer("a1", "q1", MIDDLE, 10, ()),
            answer("a2", "q1", LONG, 20, better),
            answer("a3", "q1", SHORT, 30, (Label("bad", "", when),)),
            said("q2", "a2", "Which row is the brightest? Show me the code and the sizes.", 40),
            answer("a4", "q2", CODE, 50, ()),
        ),
    )


def _small(number: int, title: str, days: float, text: str, **marks: bool) -> Conversation:
    when = _at(days)
    question = Message("user", (TextPart(text),))
    answered = Message("assistant", (TextPart(f"That depends on the light. {text}"),))
    uid = f"small{number}"
    return Conversation(
        uid,
        title,
        "",
        when,
        when,
        marks.get("pinned", False),
        marks.get("archived", False),
        f"{uid}-a",
        (
            Entry(f"{uid}-q", None, question, "person", "complete", when),
            Entry(f"{uid}-a", f"{uid}-q", answered, "model", "complete", when, _made(12, 1)),
        ),
    )


def others() -> Iterator[Conversation]:
    """Yield conversations that are in the list."""
    yield _small(1, "Recipes from photographs", 40, "What is in the pot?", pinned=True)
    yield _small(2, "Which of these boats is the fastest one?", 0.05, "How fast is the boat?")
    yield _small(3, "Harbour at dusk (fork)", 1.2, "Is the lighthouse lit?")
    yield _small(4, "A [red] house /and\nan odd title", 3, "What colour is the house?")
    yield _small(5, "Bird feeder", 12, "Which birds are these?")
    yield _small(6, "鳥と魚 — birds and fishes", 30, "魚は何匹いますか?")
    yield _small(7, "", 90, "Untitled?")
    yield _small(8, "Slides of the talk in 2023", 500, "Read slide 4.")
    yield _small(9, "Old receipts", 200, "What does it cost?", archived=True)
    yield _small(10, "Broken camera", 260, "Why is it black?", archived=True)


def fill(*, open_one: bool) -> None:
    """Write the conversations to the disk; with `open_one`, the harbour is the newest."""
    with Store(paths.data_dir()) as store:
        store.restore(*others())
        if open_one:
            store.restore(harbour())
