"""What the readable formats say about a conversation and its replies."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from vlmchat.chat.conversation import Conversation, Entry, Provenance
from vlmchat.chat.messages import Region, VideoPart
from vlmchat.text import visible_line

_STATES = {"stopped": "stopped", "failed": "broken off", "streaming": "still being written"}
_RATINGS = {
    "good": "rated good",
    "bad": "rated bad",
    "better": "better than another version",
    "correction": "corrects another version",
}


def date_of(seconds: float) -> str:
    """Return a time as the person's clock showed it, to the minute; empty if there is none."""
    if not seconds:
        return ""
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return ""


def title_of(conversation: Conversation) -> str:
    """Return the title on one line, or what stands for one."""
    return visible_line(conversation.title).strip() or "Untitled conversation"


def speaker_of(entry: Entry) -> str:
    """Return who speaks: ``You``, ``System``, or the model by its name."""
    if entry.message.role == "user":
        return "You"
    if entry.message.role == "system":
        return "System"
    if entry.author == "person":
        return "Assistant, as you wrote it"
    model = entry.provenance.engine.get("model") if entry.provenance is not None else None
    return visible_line(model) if isinstance(model, str) and model else "Assistant"


def remarks_of(entry: Entry) -> list[str]:
    """Return how a reply ended, if not well, and what was thought of it."""
    found = [_STATES[entry.state]] if entry.state in _STATES else []
    return found + [_RATINGS[label.kind] for label in entry.labels]


def facts_of(made: Provenance) -> list[tuple[str, str]]:
    """Return what produced a reply, as names and values on one line each."""
    rows = _pairs(made.engine) + _pairs(made.sampling)
    if made.system:
        rows.append(("system prompt", made.system))
    counts = (
        ("prompt tokens", made.prompt_tokens),
        ("completion tokens", made.completion_tokens),
        ("cached tokens", made.cached_tokens),
        ("finish reason", made.finish_reason),
    )
    rows += [(name, str(value)) for name, value in counts if value is not None]
    rows += _pairs(made.timings)
    return [(visible_line(name), visible_line(value)) for name, value in rows]


def _pairs(values: Mapping[str, object]) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), f"{value:g}" if isinstance(value, float) else str(value))
        for name, value in values.items()
        if value not in (None, "", [], {})
    ]


def moment_of(seconds: float) -> str:
    """Return a moment of a video as ``0:05.2`` or ``1:02:03``, to a tenth of a second."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    shown = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def length_line(part: VideoPart) -> str:
    """Return how long a video is and how many frames of it the model got, on one line."""
    many, duration = len(part.clip.times), part.clip.duration
    frames = "1 frame" if many == 1 else f"{many} frames"
    return frames if duration is None else f"{moment_of(duration)} long, {frames}"


def frames_line(part: VideoPart) -> str:
    """Return `length_line`, and when the frames are shown."""
    return f"{length_line(part)} at {', '.join(map(moment_of, part.clip.times))}"


def region_line(region: Region) -> str:
    """Return which part of a picture was meant, on one line."""
    at = f"{region.left}, {region.top}"
    return f"the part of {region.width} × {region.height} pixels at {at}"


def children_of(conversation: Conversation) -> dict[str | None, list[Entry]]:
    """Return the entries below each entry, oldest first; below ``None`` the first ones."""
    found: dict[str | None, list[Entry]] = {}
    for entry in conversation.entries:
        found.setdefault(entry.parent, []).append(entry)
    return found


def newest_chain(entry: Entry, children: Mapping[str | None, Sequence[Entry]]) -> list[Entry]:
    """Return an entry and what followed it, always the newest."""
    chain = [entry]
    while below := children.get(chain[-1].uid):
        chain.append(below[-1])
    return chain
