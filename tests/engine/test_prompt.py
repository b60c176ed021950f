"""The prompt equals, id by id and pixel by pixel, what the library's own processor makes."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.smolvlm import processing_smolvlm
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from tests.pictures import encoded
from tests.tiny import TILE, TOKENS_PER_TILE
from vlmchat.chat.messages import Detail, ImagePart, Message, Part, TextPart
from vlmchat.engine.prompt import PlannedImage, PromptBuilder
from vlmchat.engine.vision import TileMaker
from vlmchat.errors import UsageError
from vlmchat.media.images import media_from_bytes
from vlmchat.media.prompt_text import image_block
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.tiles import ProcessorSpec, TilePlan, plan_tiles
from vlmchat.media.video_prompt import video_parts

SPEC = ProcessorSpec(TILE, 4 * TILE, splitting=True, tokens_per_tile=TOKENS_PER_TILE)


def picture(width: int, height: int, detail: Detail = "high") -> ImagePart:
    return ImagePart(media_from_bytes(encoded("PNG", width, height), "p.png"), detail)


def turn(role: Any, *parts: str | Part) -> Message:
    return Message(role, tuple(TextPart(p) if isinstance(p, str) else p for p in parts))


CONVERSATIONS = {
    "text": [turn("user", "Hello, what is 12 + 30?")],
    "one picture": [turn("user", picture(64, 48), "What is in the picture?")],
    "text first": [turn("user", "Look: ", picture(300, 40), " and say what you see.\n")],
    "several": [turn("user", picture(64, 48), picture(48, 64), picture(500, 500), "Compare.")],
    "turns": [
        turn("system", "You describe pictures."),
        turn("user", picture(64, 48), "What?"),
        turn("assistant", "A red circle."),
        turn("user", "And this? ", picture(33, 200)),
    ],
    "unicode": [turn("user", "日本語 👩‍👩‍👧 ﬁ \u202e \x1b[31m [/red]\r\n\ttab  two  spaces ")],
}


@pytest.fixture(scope="module", params=["smolvlm", "idefics3"])
def folder(request: pytest.FixtureRequest) -> Path:
    name = "tiny_model" if request.param == "smolvlm" else "tiny_idefics3"
    path: Path = request.getfixturevalue(name)
    return path


def builder(folder: Path) -> PromptBuilder:
    return PromptBuilder(PreTrainedTokenizerFast.from_pretrained(folder), SPEC, DEFAULT_LIMITS)


def image_processor(folder: Path) -> Any:
    kind = Idefics3ImageProcessorPil if "idefics3" in folder.name else SmolVLMImageProcessorPil
    return kind.from_pretrained(folder)


def library_inputs(folder: Path, messages: list[Message], opened: bool = True) -> Any:
    """Return what the library's whole processor makes of `messages`, an answer opened behind."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    processor = Idefics3Processor(
        image_processor(folder),
        tokenizer,
        image_seq_len=TOKENS_PER_TILE,
        chat_template=tokenizer.chat_template,
    )
    rows = [
        {
            "role": m.role,
            "content": [
                {"type": "text", "text": p.text} if isinstance(p, TextPart) else {"type": "image"}
                for p in m.parts
            ],
        }
        for m in messages
    ]
    text = processor.apply_chat_template(rows, add_generation_prompt=opened, tokenize=False)
    pictures = [Image.open(io.BytesIO(media.data)) for m in messages for media in m.media]
    return processor(text=[text], images=[pictures] if pictures else None, return_tensors="pt")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_equals_the_librarys_processor(folder: Path, name: str) -> None:
    messages = CONVERSATIONS[name]
    prompt = builder(folder).build(messages)
    expected = library_inputs(folder, messages)
    assert prompt.ids == expected["input_ids"][0].tolist()
    maker = TileMaker(image_processor(folder), SPEC, DEFAULT_LIMITS)
    if prompt.images:
        ours = torch.cat([maker.tiles(image) for image in prompt.images])
        assert torch.equal(ours, expected["pixel_values"][0][: len(ours)])
        assert not expected["pixel_values"][0][len(ours) :].any()


@pytest.mark.parametrize(
    ("rows", "cols"), [(0, 0), (1, 2), (4, 4), (3, 1)], ids=["single", "1x2", "4x4", "3x1"]
)
def test_image_block_is_the_librarys_string(rows: int, cols: int) -> None:
    theirs = processing_smolvlm.get_image_prompt_string(
        rows, cols, 7, "<fake_token_around_image>", "<image>", "<global-img>"
    )
    assert image_block(TilePlan(rows, cols, 512, 7), "<image>") == theirs


@pytest.mark.parametrize("detail", ["low", "auto", "high"])
@pytest.mark.parametrize("size", [(1, 1), (386, 386), (33, 90), (640, 100), (64, 64), (65, 31)])
def test_tiles_are_cut_as_planned(folder: Path, size: tuple[int, int], detail: Detail) -> None:
    plan = plan_tiles(*size, SPEC, detail)
    maker = TileMaker(image_processor(folder), SPEC, DEFAULT_LIMITS)
    pixels = maker.tiles(PlannedImage(encoded("PNG", *size), "p", plan))
    assert pixels.shape == (plan.tiles, 3, TILE, TILE)
    prompt = builder(folder).build([turn("user", picture(*size, detail), "?")])
    image_id = PreTrainedTokenizerFast.from_pretrained(folder).convert_tokens_to_ids("<image>")
    assert prompt.ids.count(image_id) == plan.image_tokens == prompt.image_tokens


def test_typed_special_tokens_stay_text(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    typed = "a <image> b<end_of_utterance>\nAssistant: <|im_start|><fake_token_around_image>"
    ids = builder(folder).build([turn("user", typed)]).ids
    plain = builder(folder).build([turn("user", "x")]).ids
    for token in ("<image>", "<end_of_utterance>", "<|im_start|>", "<fake_token_around_image>"):
        special = tokenizer.convert_tokens_to_ids(token)
        assert ids.count(special) == plain.count(special), token
    assert typed in tokenizer.decode(ids)


def test_a_cut_answer_is_continued_where_it_breaks_off(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    build = builder(folder).build
    for cut in ("The sky is", "It says <image><end_of_utterance>", " \ue000 ends in space "):
        asked = [turn("user", "What colour?"), turn("assistant", cut)]
        opened = tokenizer.decode(build(asked[:1]).ids)
        continued = tokenizer.decode(build(asked, going_on=True).ids)
        assert continued.startswith(opened) and continued.endswith(cut)
    with pytest.raises(UsageError, match="ends in text"):
        build(asked[:1], going_on=True)


def test_private_use_characters_survive(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    typed = "\ue000 5 \ue0015\ue001 <image>"
    assert typed in tokenizer.decode(builder(folder).build([turn("user", typed)]).ids)


def test_video_is_the_librarys_format() -> None:
    """Compared with the library's own function, which needs no torchvision to be called."""
    times = [0.0, 1.0, 61.5, 125.9]
    media = media_from_bytes(encoded(), "frame.png")
    parts = video_parts([(seconds, media) for seconds in times], 190.4)
    single = TilePlan(0, 0, TILE, 9)
    ours = "".join(
        part.text if isinstance(part, TextPart) else image_block(single, "<image>")
        for part in parts
    )

    class Metadata:
        fps = 1.0
        timestamps = times
        duration = 190.4

    processor = object.__new__(processing_smolvlm.SmolVLMProcessor)
    processor.image_seq_len = 9
    processor.image_token, processor.fake_image_token = "<image>", "<fake_token_around_image>"
    processor.global_image_token = "<global-img>"
    inputs = {"pixel_values": torch.zeros(1, 4, 3, 8, 8), "video_metadata": [Metadata()]}
    assert ours == processor.replace_video_token(inputs, 0)
