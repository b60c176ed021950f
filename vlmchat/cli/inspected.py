"""What was found out about one file, for a person and for a program."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.chat.messages import Attachment, Detail, ImagePart
from vlmchat.media.attaching import sampled_anew, video_kind
from vlmchat.media.choosing import Wishes, attach_as_wished
from vlmchat.media.facts import ORIENTATIONS, PictureFacts, picture_facts
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import clock
from vlmchat.models.looks import Eyes, Look, look, look_row
from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import VideoPart
    from vlmchat.media.video.info import VideoInfo


@dataclass(slots=True)
class Inspected:
    """One file, and how each model looks at it.

    Attributes:
        path: as it was named.
        facts: of the file.
        sha256: of its content, as it is stored.
        item: the attachment; of a video with the frames of the first model.
        notes: what a person should know.
        looks: how each model looks at it, and what it gets of it.
        saved: files that were written.
        wished: what was asked for.
    """

    path: Path
    facts: "PictureFacts | VideoInfo"
    sha256: str
    item: Attachment
    notes: tuple[str, ...]
    looks: list[tuple[Eyes, Attachment, Look]]
    wished: Wishes
    saved: list[Path] = field(default_factory=list)

    def item_for(self, eyes: Eyes) -> Attachment:
        """Return what a model gets: of a video no more frames than half its context holds."""
        if isinstance(self.item, ImagePart):
            return self.item
        return fitting(self.item, eyes, self.wished)

    def as_json(self) -> dict[str, Any]:
        """Return it as one object."""
        row: dict[str, Any] = {"file": str(self.path), "sha256": self.sha256}
        if isinstance(self.facts, PictureFacts):
            row |= {"kind": "picture", **asdict(self.facts), "animated": False}
            row["stored"] = list(self.facts.stored)
        else:
            row |= {"kind": "video", **asdict(self.facts), "hdr": self.facts.hdr}
            row["audio"] = row.pop("has_audio")
        row["bytes"] = row.pop("size")
        if isinstance(self.item, ImagePart):
            row["detail"] = self.item.detail
            row["crop"] = list(self.item.region.edges) if self.item.region else None
        row["notes"] = list(self.notes)
        row["models"] = [
            {"id": eyes.id, "title": eyes.title, **look_row(item, found), **_times(item)}
            for eyes, item, found in self.looks
        ]
        if self.saved:
            row["saved"] = [str(path) for path in self.saved]
        return row

    def lines(self) -> Iterator[str]:
        """Yield it as lines for a person."""
        facts = self.facts
        size = f"{facts.width} × {facts.height} pixels, {human_bytes(facts.size)}"
        kind = facts.format if isinstance(facts, PictureFacts) else _film(facts)
        yield f"{visible_line(str(self.path))}: {kind}, {size}"
        details = _picture_details(facts) if isinstance(facts, PictureFacts) else _details(facts)
        yield f"  {', '.join(details)}"
        if isinstance(self.item, ImagePart) and self.item.region is not None:
            width, height = self.item.size
            yield f"  cropped to {width} × {height} pixels"
        for note in self.notes:
            yield f"  {note}"
        times: tuple[float, ...] = ()
        wide = max((len(eyes.id) for eyes, _, _ in self.looks), default=0)
        for eyes, item, found in self.looks:
            if not isinstance(item, ImagePart) and item.clip.times != times:
                times = item.clip.times
                yield f"  frames at {' '.join(map(exact_clock, times))}"
            yield f"  {visible_line(eyes.id):<{wide}}  {_look_text(item, found)}"
        for path in self.saved:
            yield f"  saved {visible_line(str(path))}"


def inspected(path: Path, wished: Wishes, detail: Detail, models: list[Eyes]) -> Inspected:
    """Return what is to be known of the file at `path`; reads and decodes.

    Args:
        path: a picture or a video.
        wished: what of it is looked at.
        detail: of pictures, where no other is wished.
        models: how they look.

    Raises:
        MediaError: it cannot be read.
        UsageError: it has nothing that is wished for.
    """
    video = bool(video_kind(path))
    attached = attach_as_wished(path, wished, detail)
    if video:
        from vlmchat.media.video.probing import probe

        facts: PictureFacts | VideoInfo = probe(path, rules().video_limits, scan=True)
    else:
        facts = picture_facts(path)
    item = attached.part
    looks = []
    for eyes in models:
        own = item if isinstance(item, ImagePart) else fitting(item, eyes, wished)
        looks.append((eyes, own, look(own, eyes)))
    return Inspected(path, facts, item.media.sha256, item, attached.notes, looks, wished)


def fitting(item: "VideoPart", eyes: Eyes, wished: Wishes) -> Attachment:
    """Return a video with no more frames than half a model's context holds.

    A number of frames that is wished for stays.
    """
    room = eyes.frames_in_half_the_context
    if wished.max_frames is not None or room is None or len(item.clip.times) <= room:
        return item
    return sampled_anew(item, wished.sampling(room)).part


def exact_clock(seconds: float) -> str:
    """Return a moment as ``0:07`` or ``0:07.52``."""
    hundredths = round(seconds * 100)
    rest = f".{hundredths % 100:02d}" if hundredths % 100 else ""
    return f"{clock(hundredths // 100)}{rest}"


def _times(item: Attachment) -> dict[str, Any]:
    if isinstance(item, ImagePart):
        return {}
    return {"times": [round(time, 3) for time in item.clip.times]}


def _look_text(item: Attachment, found: Look) -> str:
    tiles = "1 tile" if found.tiles == 1 else f"{found.tiles} tiles"
    if isinstance(item, ImagePart):
        plan = found.plans[0]
        grid = f" ({plan.rows} × {plan.cols} and the whole)" if plan.rows else ""
        return f"{tiles}{grid}, {found.tokens} tokens"
    frames = "1 frame" if len(found.plans) == 1 else f"{len(found.plans)} frames"
    return f"{frames}, {tiles}, about {found.tokens} tokens"


def _film(info: "VideoInfo") -> str:
    name = info.container if info.codec == info.container else f"{info.codec} in {info.container}"
    return f"{'animated ' if info.animated else ''}{name}"


def _details(info: "VideoInfo") -> list[str]:
    said = ["unknown length" if info.duration is None else exact_clock(info.duration)]
    if info.fps:
        said.append(f"{info.fps:.6g} frames a second")
    if info.frames:
        said.append("1 frame" if info.frames == 1 else f"{info.frames} frames")
    if info.pixel_format:
        said.append(info.pixel_format)
    said.append(f"{info.bit_depth} bits")
    said.append(f"HDR ({info.transfer.upper()}), shown as SDR" if info.hdr else "SDR")
    if info.rotation:
        said.append(f"turned by {info.rotation}°")
    said.append("with sound" if info.has_audio else "no sound")
    return said


def _picture_details(facts: PictureFacts) -> list[str]:
    said = [facts.mode]
    if facts.deep:
        said.append("deep colours brought to 8 bits")
    if facts.transparent:
        said.append(f"transparent, laid over {rules().background}")
    if facts.profile:
        said.append(f"colour profile “{facts.profile}”")
    if facts.orientation != 1:
        width, height = facts.stored
        how = ORIENTATIONS[facts.orientation]
        said.append(f"stored {how} as {width} × {height} (EXIF orientation {facts.orientation})")
    return said
