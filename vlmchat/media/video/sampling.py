"""Frames of a video file: chosen by a rule (`sample`) or at given moments (`frames_at`)."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from vlmchat.errors import MediaError, UsageError
from vlmchat.media.video.colour import Background
from vlmchat.media.video.film import Film
from vlmchat.media.video.flipbook import Flipbook
from vlmchat.media.video.info import Frame, Sampled, VideoInfo
from vlmchat.media.video.limits import DEFAULT_LIMITS, VideoLimits
from vlmchat.media.video.opening import accept, clear_errors, opened
from vlmchat.media.video.plan import Sampling, clock, plan_count, plan_times, span, thinned
from vlmchat.media.video.scenes import SMALL, Histogram, changes, histogram
from vlmchat.media.video.sniff import PICTURES, sniff
from vlmchat.media.video.source import Check, Source, TimeUpError, Watch

_LOOKS = 4.0  # small frames a second that are compared to find scenes
_WHOLE = 120.0  # seconds up to which all of a film is decoded to find scenes
_HALF = 0.5  # of the time is for finding scenes, the rest for reading them
_CUT = 1.5  # seconds missing at the end that are worth a word

Times = Callable[[Film | Flipbook, Watch, list[str]], Sequence[float]]


def sample(
    path: Path,
    sampling: Sampling | None = None,
    size: int | None = 512,
    limits: VideoLimits = DEFAULT_LIMITS,
    *,
    background: Background = "white",
    check: Check | None = None,
) -> Sampled:
    """Return frames of the video at `path`, chosen by a rule.

    Args:
        path: the file; nothing on disk is changed.
        sampling: the rule; see `plan`.
        size: the longest edge of the frames, pixels; ``None`` for as large as they are. Frames
            are never made larger.
        limits: what is refused, and when reading stops.
        background: what shows through transparent frames.
        check: called between packets; raises to cancel.

    Raises:
        MediaError: no video, damaged, too large, too long, no frame in the time allowed.
        UsageError: the in point lies behind the end.
    """
    rule = sampling or Sampling()

    def choose(film: Film | Flipbook, watch: Watch, notes: list[str]) -> Sequence[float]:
        info = film.info
        if rule.method == "uniform":
            return plan_times(info, rule, limits)
        count = plan_count(info, rule, limits)
        if rule.method == "keyframes":
            found = film.key_times(*span(info, rule))
            return thinned(found, count) or plan_times(info, rule, limits)
        return _scene_times(film, rule, limits, watch, notes)

    keys = rule.method == "keyframes"
    return _read(path, choose, size, limits, background, check, keys=keys)


def frames_at(
    path: Path,
    times: Sequence[float],
    size: int | None = 512,
    limits: VideoLimits = DEFAULT_LIMITS,
    *,
    background: Background = "white",
    check: Check | None = None,
) -> Sampled:
    """Return the frames shown at chosen moments; see `sample`.

    Args:
        path: the file.
        times: seconds from the beginning, in any order; moments behind the end show the last frame.
        size: the longest edge of the frames, pixels.
        limits: what is refused, and when reading stops.
        background: what shows through transparent frames.
        check: called between packets; raises to cancel.

    Raises:
        MediaError: as `sample`.
        UsageError: no moments, or too many.
    """
    chosen = sorted({max(0.0, float(time)) for time in times})
    if not chosen:
        raise UsageError("No moment of the video was named.")
    if len(chosen) > limits.max_frames:
        raise UsageError(f"At most {limits.max_frames} frames of a video are taken at once.")
    return _read(
        path, lambda film, watch, notes: chosen, size, limits, background, check, keys=False
    )


def _read(
    path: Path,
    choose: Times,
    size: int | None,
    limits: VideoLimits,
    background: Background,
    check: Check | None,
    *,
    keys: bool,
) -> Sampled:
    watch = Watch(limits, check)
    with clear_errors(path.name, watch), ExitStack() as stack:
        source = stack.enter_context(Source(path, limits, watch))
        film = _film(source, limits, stack)
        notes: list[str] = []
        info = film.info = _measured(film, notes)
        times = choose(film, watch, notes)
        frames: list[Frame] = []
        pictures = film.key_pictures if keys else film.pictures
        try:
            frames.extend(pictures(times, size, background))
        except TimeUpError:
            if not frames:
                raise
            notes.append(
                f"Reading stopped after {limits.decode_seconds:g} seconds "
                f"with {len(frames)} of {len(times)} frames."
            )
    if not frames:
        raise MediaError(f"“{source.label}” holds no frame that can be decoded: it is damaged.")
    if film.damaged:
        notes.append("Parts of the video are damaged; what could be decoded was used.")
    if film.made_up:
        notes.append("The file has no times; they are counted by its frame rate.")
    return Sampled(info, tuple(frames), tuple(notes))


def _film(source: Source, limits: VideoLimits, stack: ExitStack) -> Film | Flipbook:
    kind = sniff(source)
    if kind in PICTURES:
        book = Flipbook(source, kind, limits)
        accept(book.info, source, limits)
        return book
    container = stack.enter_context(opened(source, kind, limits))
    return Film(container, source, kind, limits)


def _measured(film: Film | Flipbook, notes: list[str]) -> VideoInfo:
    """Return the info with the length that is really there."""
    info = film.info
    if isinstance(film, Flipbook):
        if film.cut:
            notes.append(f"The file is cut off at {clock(info.duration or 0)}.")
        return info
    ends = film.reach()
    if ends is None:
        return info
    if info.duration is None:
        return dataclasses.replace(info, duration=max(0.0, ends))
    if ends < info.duration - _CUT:
        notes.append(f"The file is cut off at {clock(ends)}; it should be {clock(info.duration)}.")
        return dataclasses.replace(info, duration=max(0.0, ends), frames=None)
    return info


def _scene_times(
    film: Film | Flipbook, rule: Sampling, limits: VideoLimits, watch: Watch, notes: list[str]
) -> Sequence[float]:
    """Return the first frame's time and those after the largest changes."""
    info = film.info
    first, last = span(info, rule)
    count = plan_count(info, rule, limits)
    if last - first <= _WHOLE:
        steps = max(1, int((last - first) * _LOOKS))
        looks = [first + (last - first) * number / steps for number in range(steps + 1)]
        small = film.pictures(looks, SMALL)
    else:
        # Encoders put keyframes where scenes change.
        small = film.key_pictures(film.key_times(first, last), SMALL)
    seen: list[tuple[float, Histogram]] = []
    try:
        with watch.part(_HALF):
            for frame in small:
                seen.append((max(first, frame.time), histogram(frame.image)))
    except TimeUpError:
        if not seen:
            raise
        notes.append(f"Scenes were looked for up to {clock(seen[-1][0])} only, for want of time.")
    chosen = changes(seen, count)
    if len(chosen) < 2 < count:
        notes.append("No change of scene was found; the frames are spread evenly.")
        return plan_times(info, rule, limits)
    return chosen
