"""What was asked before: walking through it, in which order, and searching."""

from dataclasses import dataclass, field

from vlmchat.talk.history import Remembered, Walk, gather, gather_newest, matching


@dataclass
class Saved:
    """What a store would say."""

    here: list[str] = field(default_factory=list)
    everywhere: list[str] = field(default_factory=list)

    async def asked(self, limit: int, everywhere: bool) -> list[str]:
        return (self.everywhere if everywhere else self.here)[:limit]


def test_the_walk() -> None:
    walk = Walk("draft", ["c", "b", "c", "", "draft", "a"])
    assert walk.newer("draft") is None and walk.at_draft
    assert [walk.older(shown) for shown in ("draft", "c", "b")] == ["c", "b", "a"]
    assert walk.older("a") is None
    assert walk.newer("a") == "b"
    # What was changed on the way is there when one comes back.
    assert walk.newer("b changed") == "c"
    assert walk.older("c") == "b changed"
    assert walk.newer("b changed") == "c"
    assert walk.newer("c") == "draft" and walk.at_draft
    assert walk.newer("draft") is None
    assert walk.older("another draft") == "c"
    assert walk.newer("c") == "another draft"


def test_an_empty_walk() -> None:
    walk = Walk("", ["", "  "])
    assert walk.older("") is None and walk.newer("") is None


async def test_in_which_order() -> None:
    remembered = Remembered()
    remembered.remember("before")
    remembered.begin()
    for text in ("one", "  ", "two", "one"):
        remembered.remember(text)
    assert await remembered.asked(2, everywhere=False) == ["one", "two"]
    assert await gather(remembered, None, 10) == ["one", "two", "before"]
    saved = Saved(["two", "here"], ["elsewhere", "here"])
    assert await gather(remembered, saved, 10) == ["one", "two", "here", "before", "elsewhere"]
    assert await gather(remembered, saved, 3) == ["one", "two", "here"]
    newest = await gather_newest(remembered, saved, 10)
    assert newest == ["one", "two", "before", "elsewhere", "here"]


def test_matching() -> None:
    entries = ["What is on the Quay?", "And\nthe boat?", "a [red] quay"]
    assert matching(entries, "quay", 10) == [entries[0], entries[2]]
    assert matching(entries, "RED quay", 10) == [entries[2]]
    assert matching(entries, "", 2) == entries[:2]
