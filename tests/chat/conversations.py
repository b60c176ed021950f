"""Conversations for tests: one by hand, and as many as Hypothesis likes."""

from typing import Any

from hypothesis import strategies as st

from tests.films import video
from tests.pictures import encoded
from vlmchat.chat.conversation import Conversation, Entry, Label, LabelKind, Provenance
from vlmchat.chat.messages import (
    DETAILS,
    Clip,
    ImagePart,
    Media,
    Message,
    Part,
    Region,
    TextPart,
    VideoPart,
)
from vlmchat.media.images import media_from_bytes

RED = media_from_bytes(encoded(), "red.png")
BLUE = media_from_bytes(encoded("JPEG", 40, 30, "blue"), "blue [1](x).jpg")
_NASTY = [
    "",
    "[bold]x[/] <b>&amp;</b> <image> <script>alert(1)</script>",
    "# heading\n```python\nprint('`')\n",
    "\x00\x1b[31m\x7f\x85\u2028\u2029\u202e\ufeff",
    "\r\n\f\t end",
    "half \ud83d pair",
    "pair \ud83d\ude00",
    "日本語 👩‍👩‍👧 é",
    "long " * 5_000,
    '{"messages": []}\n---\n',
]
TEXTS = st.one_of(st.sampled_from(_NASTY), st.text(st.characters(), max_size=30))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
_FREE = st.dictionaries(st.text(max_size=5), _JSON, max_size=3)
_TIMES = st.one_of(st.just(0.0), st.floats(1, 4e9))
_COUNTS = st.none() | st.integers(0, 10**6)
_NAMES = st.sampled_from(["a.png", "", "../é\n<x>.png", "blue [1](x).jpg"])


def _renamed(media: Media, name: str) -> Media:
    from dataclasses import replace

    return replace(media, name=name)


_IMAGES = st.builds(
    ImagePart,
    st.builds(_renamed, st.sampled_from([RED, BLUE]), _NAMES),
    st.sampled_from((*DETAILS, 1, 5)),
    st.sampled_from([None, Region(0, 0, 1, 1), Region(3, 4, 40, 30)]),
)
_MOMENTS = st.sets(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=4)
_CLIPS = st.builds(
    lambda times, length: Clip(tuple(sorted(times)), length),
    _MOMENTS,
    st.none() | st.floats(0, 1e6, allow_subnormal=False),
)
# Containers whose media type has to survive, too.
_FILMS = st.sampled_from(["clip.mp4", "clip.mkv", "clip.mov"])
_VIDEOS = st.builds(
    lambda film, name, clip: VideoPart(_renamed(video(film).media, name), clip),
    _FILMS,
    _NAMES,
    _CLIPS,
)
_PARTS: st.SearchStrategy[Part] = st.one_of(st.builds(TextPart, TEXTS), _IMAGES, _VIDEOS)
_MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant"]),
    st.lists(_PARTS, max_size=3).map(tuple),
)
_PROVENANCE = st.builds(
    Provenance,
    _FREE,
    _FREE,
    TEXTS,
    st.none() | st.sampled_from(["stop", "length"]),
    _COUNTS,
    _COUNTS,
    _COUNTS,
    _FREE,
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Return a tree with any number of roots and siblings."""
    entries: list[Entry] = []
    size = draw(st.integers(0, 6))
    uids = draw(
        st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=size,
                 max_size=size, unique=True)
    )  # fmt: skip
    for uid in uids:
        parents = [None, *(entry.uid for entry in entries)]
        single: st.SearchStrategy[Label] = st.builds(
            Label, st.sampled_from(["good", "bad"]), st.just(""), _TIMES
        )
        kinds: list[LabelKind] = ["better", "correction"]
        pairs = st.builds(Label, st.sampled_from(kinds), st.sampled_from(uids), _TIMES)
        labels = draw(st.lists(single | pairs, max_size=2))
        entries.append(
            Entry(
                uid,
                draw(st.sampled_from(parents)),
                draw(_MESSAGES),
                draw(st.sampled_from(["person", "model"])),
                draw(st.sampled_from(["streaming", "complete", "stopped", "failed"])),
                draw(_TIMES),
                draw(st.none() | _PROVENANCE),
                tuple(labels),
            )
        )
    return Conversation(
        draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)),
        draw(TEXTS),
        draw(TEXTS),
        draw(_TIMES),
        draw(_TIMES),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([None, *uids])),
        tuple(entries),
    )


def said(text: str) -> Message:
    """Return a reply."""
    return Message("assistant", (TextPart(text),))


def example(**values: Any) -> Conversation:
    """Return a conversation with branches, pictures, provenance and labels."""
    engine = {"model": "smolvlm", "seed": 3}
    made = Provenance(engine, {"temperature": 0.5}, "Be brief.", "stop", 9, 2, 0, {"ms": 1.5})
    bad, better = Label("bad", "", 5.0), Label("better", "a", 7.0)
    question = Message(
        "user", (ImagePart(RED, 5, Region(1, 2, 30, 40)), TextPart("What is <b>it</b>?"))
    )
    entries = (
        Entry("q", None, question, "person", created=1_700_000_000.0),
        Entry("a", "q", said("A *square*."), "model", "complete", 2.0, made, (bad,)),
        Entry("b", "q", said("A disc."), "person", labels=(Label("correction", "a", 6.0),)),
        Entry("c", "q", said("A ball."), "model", "complete", 3.0, made, (better,)),
        Entry("d", "b", Message("user", (TextPart("Sure?"),)), "person"),
        Entry("e", "d", said("Yes."), "model", "complete", 4.0, made, (Label("good", "", 8.0),)),
        Entry("f", "d", said("Well"), "model", "stopped", 5.0, made),
        Entry("r", None, Message("user", (TextPart("Another beginning"),)), "person"),
    )
    given: dict[str, Any] = {
        "title": "A picture",
        "system": "Be brief.",
        "tip": "e",
        "created": 1_700_000_000.0,
    }
    return Conversation("conv-1", entries=entries, **(given | values))
