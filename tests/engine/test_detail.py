"""The engine reads the detail of a picture strictly."""

from typing import Any

import pytest

from vlmchat.engine.requests import ImageUrlPart, parse_request
from vlmchat.errors import UsageError


def body(**fields: Any) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": "data:,x", **fields}}
    return {"messages": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize("text", ["low", "auto", "high", "1", "5", "40"])
def test_levels_and_numbers_of_tiles(text: str) -> None:
    content = parse_request(body(detail=text)).messages[0].content
    part = content[0]
    assert isinstance(part, ImageUrlPart)
    found = part.image_url.detail
    assert str(found) == text


@pytest.mark.parametrize("wrong", ["", "0", "05", " 5", "High", "-1", "1.5", 5, None, True, []])
def test_nonsense_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"detail”.*the most tiles as text") as caught:
        parse_request(body(detail=wrong))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_regions_are_no_field_of_the_engine() -> None:
    with pytest.raises(UsageError, match=r"region” is not supported"):
        parse_request(body(region=[0, 0, 1, 1]))
