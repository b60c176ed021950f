"""/frames in words."""

import math

import pytest

from vlmchat.errors import UsageError
from vlmchat.media.storyboard import time_labels
from vlmchat.media.video.plan import Sampling
from vlmchat.talk.framing import ALL, Wish, moment, parse


@pytest.mark.parametrize(
    ("argument", "wish"),
    [
        ("", Wish()),
        ("12", Wish(count=12)),
        ("fps 2", Wish(fps=2.0)),
        ("from 0:05 to 0:17", Wish(start=5.0, end=17.0)),
        ("to end from start", Wish(start=0.0, end=math.inf)),
        ("scenes", Wish(method="scenes")),
        ("drop 3", Wish(drop=(3,))),
        ("drop 3, 5 7", Wish(drop=(3, 5, 7))),
        ("add 0:07 1:02:03.5", Wish(add=(7.0, 3723.5))),
        ("of 2 8 keyframes", Wish("2", count=8, method="keyframes")),
        ("a b.mp4", Wish("a b.mp4")),
        ("“a b.mp4” 3", Wish("a b.mp4", count=3)),
        ("of 'a b.mp4' fps .5", Wish("a b.mp4", fps=0.5)),
        ("Scenes FROM 7s", Wish(method="scenes", start=7.0)),
    ],
)
def test_what_is_understood(argument: str, wish: Wish) -> None:
    assert parse(argument, ["a b.mp4", "a"]) == wish
    assert wish.empty == (wish == Wish(wish.which))


@pytest.mark.parametrize(
    "argument",
    ["x", "0", "999999999999999999999", "fps", "fps x", "from", "from 1:2:3:4", "drop", "drop x",
     "add ::", "add -1", "1e3", "٣", "add 1:٣"],
)  # fmt: skip
def test_what_is_not(argument: str) -> None:
    with pytest.raises(UsageError):
        parse(argument)


def test_how_frames_are_chosen_anew() -> None:
    now = Sampling("scenes", 1.0, 20, 3.0, 9.0)
    assert Wish(drop=(1,), add=(2.0,)).sampling(now) is None
    assert Wish(count=7).sampling(now) == Sampling("scenes", ALL, 7, 3.0, 9.0)
    assert Wish(fps=2.0).sampling(now) == Sampling("scenes", 2.0, 64, 3.0, 9.0)
    assert Wish(start=0.0, end=math.inf).sampling(now) == Sampling("scenes", 1.0, 20)
    with pytest.raises(UsageError, match="before the in point"):
        Wish(start=10.0).sampling(now)


def test_moments() -> None:
    assert [moment(text) for text in ("7", "0:07", "7.5s", " 1:00:00 ")] == [7, 7, 7.5, 3600]


def test_times_are_told_apart() -> None:
    assert time_labels([0, 1, 62]) == ["0:00", "0:01", "1:02"]
    assert time_labels([0, 0.5, 1]) == ["0:00.0", "0:00.5", "0:01.0"]
    assert time_labels([6.99, 7]) == ["0:06", "0:07"]
    assert time_labels([1, 1.04, 1.08]) == ["0:01.00", "0:01.04", "0:01.08"]
