"""What attachments cost with the model that answers, before they are sent."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.chat.messages import (
    DETAILS,
    Attachment,
    Detail,
    ImagePart,
    Media,
    VideoPart,
)
from vlmchat.errors import VlmchatError
from vlmchat.media.tiles import ProcessorSpec, TilePlan, plan_tiles
from vlmchat.media.video.plan import clock
from vlmchat.talk.speeds import Speed, Speeds
from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    from vlmchat.models.catalogue import CatalogueEntry
    from vlmchat.settings import Settings
    from vlmchat.talk.session import ChatSession
    from vlmchat.talk.turns.tree import Turn

# What SmolVLM2's tokenizer makes of “Frame from 01:21:” on a line of its own, and of the sentence
# before the first frame with the blank line behind the last (see `vlmchat.media.video_prompt`).
_STAMP_TOKENS = 10
VIDEO_TOKENS = 31


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attachment takes.

    Attributes:
        tiles: pictures the vision tower encodes.
        tokens: of the prompt.
        frames: how many of them are frames of a video; 0 for a picture.
        seconds: until its answer can begin; ``None`` until it was measured on this machine.
    """

    tiles: int
    tokens: int
    frames: int = 0
    seconds: float | None = None


def cost_of(
    item: Attachment, detail: Detail, spec: ProcessorSpec, speed: Speed | None = None
) -> Cost:
    """Return what an attachment costs.

    Args:
        item: with its own region; its own detail does not matter.
        detail: how finely a picture will be looked at.
        spec: of the model's processor.
        speed: what was measured, if anything.
    """
    if isinstance(item, VideoPart):
        frames = len(item.clip.times)
        tiles, tokens = frames, frames * frame_tokens(spec) + VIDEO_TOKENS
    else:
        plan = plan_of(item, detail, spec)
        frames, tiles, tokens = 0, plan.tiles, plan.prompt_tokens
    seconds = None if speed is None else tiles * speed.tile + tokens * speed.token
    return Cost(tiles, tokens, frames, seconds)


def frame_tokens(spec: ProcessorSpec) -> int:
    """Return the tokens of one frame of a video: a single tile, and its time."""
    return plan_tiles(spec.tile, spec.tile, spec, "low").prompt_tokens + _STAMP_TOKENS


def plan_of(item: ImagePart, detail: Detail, spec: ProcessorSpec) -> TilePlan:
    """Return how a picture, or the part of it that is meant, will be cut."""
    return plan_tiles(*item.size, spec, detail)


def steps(size: tuple[int, int], spec: ProcessorSpec | None) -> list[Detail]:
    """Return the details that make a difference to a picture of this size: words, then numbers."""
    if spec is None:
        return list(DETAILS)
    known = {plan_tiles(*size, spec, level).tiles for level in DETAILS}
    most = plan_tiles(*size, spec, "high").tiles
    numbers = {plan_tiles(*size, spec, count).tiles for count in range(2, most)}
    return [*DETAILS, *sorted(numbers - known)]


def grouped(count: int) -> str:
    """Return a number with its thousands apart: ``1 088``."""
    return f"{count:,}".replace(",", "\u00a0")


def counted(count: int, noun: str) -> str:
    """Return ``1 tile`` or ``5 tiles``."""
    return f"{grouped(count)} {noun}{'' if count == 1 else 's'}"


def cost_words(cost: Cost) -> list[str]:
    """Return a cost in short parts: tokens, and seconds if they are known."""
    wait = [] if cost.seconds is None else [f"~{wait_text(cost.seconds)}"]
    return [counted(cost.tokens, "token"), *wait]


def wait_text(seconds: float) -> str:
    """Return a wait, as exactly as it can be foretold: ``0.4 s``, ``3 s``, ``2 min``."""
    if seconds < 0.05:
        return "0.1 s"
    if seconds < 2:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Plans:
    """Reckons what is attached for one front: for the chips, the sentences and the completion.

    Args:
        session: whose model and context count.
        items: returns what is attached.
        spawn: runs a coroutine in the background.
        changed: told that the figures are others now.
    """

    def __init__(
        self,
        session: "ChatSession",
        items: Callable[[], list[Attachment]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        changed: Callable[[], None],
    ) -> None:
        self._session = session
        self._items = items
        self._spawn = spawn
        self._changed = changed
        self._folders: dict[str, ProcessorSpec | None] = {}
        self.settings: Callable[[], Settings | None] = lambda: None
        self.wanted: Callable[[], str] = lambda: ""
        self.speeds = Speeds()

    def begin(self) -> None:
        """Read what was measured before; in the background."""
        self._spawn(self._recall())

    async def _recall(self) -> None:
        await asyncio.to_thread(self.speeds.load)
        self._changed()

    async def learn(self, turn: "Turn") -> None:
        """Take what an answer took."""
        finished = turn.reply.finished if turn.reply else None
        model = self._session.engine.model
        if finished is None or model is None or not finished.timings:
            return
        if await asyncio.to_thread(self.speeds.note, model, finished.timings):
            self._changed()

    # The model --------------------------------------------------------------------------------

    @property
    def spec(self) -> ProcessorSpec | None:
        """How the model cuts pictures; ``None`` while nobody knows."""
        model = self._session.engine.model
        if model is not None:
            return model.processor if model.images else None
        if self._session.engine.kind == "remote":
            return None
        if entry := self._chosen():
            return entry.processor
        return self._of_folder(self.wanted())

    def _chosen(self) -> "CatalogueEntry | None":
        """Return the catalogue's entry of the model that was chosen, before it is loaded."""
        from vlmchat.models.catalogue import lookup

        name = self.wanted().partition("@")[0]
        return lookup(name) if name else None

    def _of_folder(self, name: str) -> ProcessorSpec | None:
        """Return what a folder's files say; they are read in the background when first asked."""
        if not name.startswith(("/", ".", "~")):
            return None
        if name not in self._folders:
            self._folders[name] = None
            self._spawn(self._read(name))
        return self._folders[name]

    async def _read(self, name: str) -> None:
        from vlmchat.models.processor import processor_spec

        try:
            spec = await asyncio.to_thread(lambda: processor_spec(Path(name).expanduser()))
        except (VlmchatError, OSError, RuntimeError):
            return  # the engine says what is wrong with the folder
        self._folders[name] = spec
        self._changed()

    @property
    def _speed(self) -> Speed | None:
        model = self._session.engine.model
        return self.speeds.of(model) if model is not None else None

    # What it costs ----------------------------------------------------------------------------

    def cost(self, item: Attachment, detail: Detail | None = None) -> Cost | None:
        """Return what an attachment costs at the detail of the next question, or at `detail`."""
        spec = self.spec
        if spec is None:
            return None
        wanted = self._session.detail if detail is None else detail
        return cost_of(item, wanted, spec, self._speed)

    def total(self) -> Cost | None:
        """Return what everything that is attached costs together."""
        costs = [self.cost(item) for item in self._items()]
        known = [cost for cost in costs if cost is not None]
        if not known or len(known) < len(costs):
            return None
        waits = [cost.seconds for cost in known if cost.seconds is not None]
        return Cost(
            sum(cost.tiles for cost in known),
            sum(cost.tokens for cost in known),
            sum(cost.frames for cost in known),
            sum(waits) if len(waits) == len(known) else None,
        )

    @property
    def left(self) -> int | None:
        """How many tokens of the context are left; ``None`` while that is not known."""
        context = self._session.context
        limit = context.limit
        if not limit and self._session.engine.kind == "local" and (entry := self._chosen()):
            limit = entry.context
        return max(0, limit - context.used) if limit else None

    def frames_room(self) -> int | None:
        """Return how many frames of a video there is room for in half of what is left."""
        spec, left, settings = self.spec, self.left, self.settings()
        most = settings.media.video_frames if settings is not None else None
        if spec is None or left is None:
            return most
        total = self.total()
        free = (left - (total.tokens if total else 0)) // 2 - VIDEO_TOKENS
        room = max(1, free // frame_tokens(spec))
        return room if most is None else min(room, most)

    # In words ---------------------------------------------------------------------------------

    def facts(self, item: Attachment, detail: Detail | None = None) -> list[str]:
        """Return what an attachment costs in short parts: tiles or frames, tokens, seconds."""
        cost = self.cost(item, detail)
        frames = len(item.clip.times) if isinstance(item, VideoPart) else 0
        if cost is None:
            return [counted(frames, "frame")] if frames else []
        first = counted(frames, "frame") if frames else counted(cost.tiles, "tile")
        return [first, *cost_words(cost)]

    def warning(self) -> str:
        """Return in words that what is attached does not fit; empty when it does."""
        total, left = self.total(), self.left
        if total is None or left is None or total.tokens < left:
            return ""
        are = "is" if left == 1 else "are"
        return (
            f"needs {counted(total.tokens, 'token')}, {grouped(left)} {are} left: {self._advice()}"
        )

    def _advice(self) -> str:
        items = self._items()
        ways = []
        if any(isinstance(item, ImagePart) for item in items) and self._session.detail != "low":
            ways.append("/detail low")
        if any(isinstance(item, VideoPart) for item in items):
            ways.append("fewer frames")
        if self._session.context.used:
            ways.append("/new")
        return " or ".join(ways[:2] or ["fewer attachments"])

    def sentence(self, item: Attachment) -> str:
        """Return everything about an attachment in words, to be read aloud."""
        media = item.media
        parts = [
            visible_line(media.name),
            media.mime.rpartition("/")[2].upper(),
            f"{media.width} by {media.height} pixels",
            human_bytes(media.size),
        ]
        if part := region_words(item):
            parts.append(part)
        if isinstance(item, VideoPart) and item.clip.duration is not None:
            parts.append(f"{clock(item.clip.duration)} long")
        for fact in self.facts(item):
            about = fact.replace("~", "about ").replace("\u00a0", "")
            parts.append(about.replace(" s", " seconds") if about.endswith(" s") else about)
        return ", ".join(parts)


def region_words(item: Attachment) -> str:
    """Return which part of a picture is meant, in words; empty when it is all of it."""
    if not isinstance(item, ImagePart) or item.region is None:
        return ""
    region = item.region
    return (
        f"of which the part from {region.left}, {region.top} to {region.right}, {region.bottom}"
        f" ({region.width} by {region.height} pixels)"
    )


def as_items(media: Iterable[Media | Attachment]) -> list[Attachment]:
    """Return attachments, bare media as whole pictures."""
    return [ImagePart(item) if isinstance(item, Media) else item for item in media]
