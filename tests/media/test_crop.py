"""A part of a picture, and several pictures, on their way to the model."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from tests.pictures import draw, encoded
from vlmchat.chat.messages import ImagePart, Message, Region, TextPart, numbered, user_message
from vlmchat.chat.openai import to_openai
from vlmchat.engine.prompt import PlannedImage
from vlmchat.engine.vision import TileMaker
from vlmchat.errors import UsageError
from vlmchat.media.crop import cropped
from vlmchat.media.images import decode, media_from_bytes
from vlmchat.media.rules import DEFAULT_LIMITS, MediaRules, rules, use_rules
from vlmchat.media.sending import as_sent
from vlmchat.media.thumbnails import thumbnail
from vlmchat.media.tiles import plan_tiles
from vlmchat.models.catalogue import by_id
from vlmchat.store.store import Store


def turned_jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(width, height).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_a_region_holds_a_pixel_and_lies_in_the_picture() -> None:
    media = media_from_bytes(encoded("PNG", 64, 48), "a.png")
    assert ImagePart(media, "auto", Region(0, 0, 64, 48)).size == (64, 48)
    assert ImagePart(media, "auto", Region(63, 47, 64, 48)).size == (1, 1)
    for edges in ((5, 5, 5, 9), (5, 5, 9, 5), (9, 0, 5, 3), (-1, 0, 4, 4)):
        with pytest.raises(UsageError, match="holds no pixel"):
            Region(*edges)
    with pytest.raises(UsageError, match="reaches beyond the picture, which has 64 × 48"):
        user_message("?", (media,), regions=(Region(0, 0, 65, 48),))
    for wrong in (None, [1, 2, 3], [0, 0, 1.5, 2], [0, 0, True, 1], "0,0,1,1"):
        with pytest.raises(UsageError):
            Region.parse(wrong)


@pytest.mark.parametrize("data", [encoded("PNG", 900, 700), turned_jpeg(700, 900)])
def test_the_engine_gets_the_tiles_of_the_part(data: bytes) -> None:
    spec = by_id("smolvlm2-500m").processor
    media = media_from_bytes(data, "a")
    assert (media.width, media.height) == (900, 700)
    region = Region(13, 57, 713, 639)
    (sent,) = as_sent([user_message("?", (media,), "high", (region,))])
    part = sent.parts[0]
    assert isinstance(part, ImagePart) and part.region is None and part.detail == "high"
    assert (part.media.width, part.media.height) == (700, 582)
    direct = io.BytesIO()
    decode(data).crop(region.edges).save(direct, "BMP")
    maker = TileMaker(SmolVLMImageProcessorPil(size={"longest_edge": 2048}), spec, DEFAULT_LIMITS)
    plan = plan_tiles(700, 582, spec, "high")
    through = maker.tiles(PlannedImage(part.media.data, "a", plan))
    assert torch.equal(through, maker.tiles(PlannedImage(direct.getvalue(), "a", plan)))
    assert cropped(media, region) is part.media  # made once
    assert media.data == data  # the original stays


def test_what_each_engine_reads_in_its_own_way_goes_as_pixels() -> None:
    clear = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(clear, "PNG")
    media = media_from_bytes(clear.getvalue(), "clear.png")
    plain = media_from_bytes(encoded("JPEG"), "plain.jpg")
    before = rules()
    seen = []
    try:
        for ground in ("white", "black"):
            use_rules(MediaRules(background="black" if ground == "black" else "white"))
            sent = as_sent([user_message("?", (media, plain))])[0].media
            assert sent[1] is plain
            image = Image.open(io.BytesIO(sent[0].data))
            assert image.mode == "RGB"
            seen.append(image.getpixel((0, 0)))
    finally:
        use_rules(before)
    assert seen == [(255, 255, 255), (0, 0, 0)]


def test_pictures_are_numbered_through_the_conversation() -> None:
    media = media_from_bytes(encoded(), "a.png")
    asked = [
        Message("system", (TextPart("Be brief."),)),
        user_message("Compare.", (media, media)),
        Message("assistant", (TextPart("Same."),)),
        user_message("", (media,)),
    ]
    rows = to_openai(as_sent(asked, number_images=True))
    texts = [part.get("text", "*") for row in rows if row["role"] == "user"
             for part in row["content"]]  # fmt: skip
    assert texts == ["Image 1: ", "*", "\nImage 2: ", "*", "\nCompare.", "Image 3: ", "*"]
    assert numbered(asked)[0] is asked[0] and asked[1].text == "Compare."
    assert to_openai(as_sent(asked)) == to_openai(asked)


def test_a_part_has_a_thumbnail_of_its_own() -> None:
    media = media_from_bytes(encoded("PNG", 300, 200), "a.png")
    whole = thumbnail(media.data, media.sha256, (128, 128))
    part = thumbnail(media.data, media.sha256, (128, 128), region=Region(0, 0, 100, 100))
    assert (whole.size, part.size) == ((128, 85), (100, 100))
    again = thumbnail(b"", media.sha256, (128, 128), region=Region(0, 0, 100, 100))
    assert again.tobytes() == part.tobytes()


def test_the_store_keeps_part_and_detail(tmp_path: Path) -> None:
    media = media_from_bytes(encoded(), "a.png")
    asked = user_message("?", (media, media), 7, (None, Region(1, 2, 30, 40)))
    with Store(tmp_path) as store:
        thread = store.new_thread()
        store.add(thread, None, asked, author="person")
    with Store(tmp_path) as store:
        (node,) = store.path(thread)
    assert node.message == asked
