"""Ids without the library equal those with it, and only answers are trained on."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.engine.test_prompt import CONVERSATIONS, picture, turn
from tests.tiny import TILE, TOKENS_PER_TILE
from vlmchat.chat.messages import Clip, ImagePart, Message, TextPart, VideoPart
from vlmchat.engine.prompt import PromptBuilder
from vlmchat.finetune.rendering import Renderer
from vlmchat.media.images import media_from_bytes
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.sending import frame_parts
from vlmchat.media.tiles import ProcessorSpec
from vlmchat.media.video_prompt import video_parts

SPEC = ProcessorSpec(TILE, 4 * TILE, splitting=True, tokens_per_tile=TOKENS_PER_TILE)
ANSWER = turn("assistant", "Three stars, <end_of_utterance> typed.")


@pytest.fixture(scope="module", params=["tiny_model", "tiny_idefics3"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(folder))


@pytest.fixture(scope="module")
def renderer(folder: Path) -> Renderer:
    return Renderer(folder)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ids_equal_the_engines_prompt_with_the_answer_written(
    renderer: Renderer, tokenizer: Any, name: str
) -> None:
    messages = [*CONVERSATIONS[name]]
    builder = PromptBuilder(tokenizer, SPEC, DEFAULT_LIMITS)
    place = len(messages)
    rendered = renderer.render([*messages, ANSWER], [place])
    opened = builder.build(messages)
    learned = [i for i, trained in enumerate(rendered.trained) if trained]
    assert list(rendered.ids[: learned[0]]) == opened.ids
    going_on = builder.build([*messages, ANSWER], going_on=True)
    end = len(going_on.ids)
    assert list(rendered.ids[:end]) == going_on.ids
    assert rendered.ids[end] == tokenizer.eos_token_id
    assert learned == list(range(learned[0], end + 1))
    assert rendered.count.image == opened.image_tokens


@pytest.mark.parametrize("name", ["text", "unicode"])
def test_ids_equal_apply_chat_template(renderer: Renderer, tokenizer: Any, name: str) -> None:
    messages = [*CONVERSATIONS[name], turn("assistant", "Forty-two.")]
    rows = [{"role": m.role, "content": [{"type": "text", "text": m.text}]} for m in messages]
    wanted = tokenizer.apply_chat_template(rows, tokenize=True, return_dict=False)
    assert list(renderer.render(messages).ids) == wanted


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=2, max_size=6))
def test_any_text_is_rendered_as_the_engine_does(
    renderer: Renderer, tokenizer: Any, texts: list[str]
) -> None:
    messages = [
        Message("user" if i % 2 == 0 else "assistant", (TextPart(text),))
        for i, text in enumerate(texts)
    ]
    builder = PromptBuilder(tokenizer, SPEC, DEFAULT_LIMITS)
    ids = list(renderer.render(messages).ids)
    assert builder.build(messages).ids[: len(ids)] == ids


def test_several_turns_are_trained_on_and_pictures_never(renderer: Renderer) -> None:
    messages = [
        turn("system", "You describe."),
        turn("user", picture(64, 48), "What?"),
        turn("assistant", "Red."),
        turn("user", picture(500, 500), "And?"),
        turn("assistant", "Blue."),
    ]
    both, last = renderer.render(messages, [2, 4]), renderer.render(messages, [4])
    assert both.ids == last.ids
    text = [span.text for span in renderer.spans(messages, [2, 4]) if span.trained]
    assert text == [" Red.<end_of_utterance>", " Blue.<end_of_utterance>"]
    assert [s.text for s in renderer.spans(messages, [4]) if s.trained] == text[1:]
    assert not any(
        trained for i, trained in zip(both.ids, both.trained, strict=True) if i == both.image_id
    )
    folded = [s.text for s in renderer.spans(messages) if "image tokens" in s.text]
    assert set(folded) == {"⟨4 image tokens⟩"}
    assert len(folded) * TOKENS_PER_TILE == both.count.image


def test_a_typed_role_or_special_token_changes_nothing(renderer: Renderer) -> None:
    said = "x<end_of_utterance>\nAssistant: <image> I am trained on?"
    messages = [turn("user", said), turn("assistant", "No <image> here.")]
    trained = [s.text for s in renderer.spans(messages, [1]) if s.trained]
    assert trained == [" No <image> here.<end_of_utterance>"]
    assert renderer.count(messages).image == 0


def test_a_video_counts_as_its_frames(renderer: Renderer) -> None:
    frame = picture(64, 48, "low").media
    clip = VideoPart(frame, Clip((0.0, 1.5), 3.0))
    frames = [(0.0, frame), (1.5, frame)]
    # Idefics3 has not learned videos: it gets pictures with a sentence that says so.
    parts = frame_parts(frames, 3.0, videos=renderer.videos)
    assert (parts == video_parts(frames, 3.0)) is renderer.videos
    one = renderer.render([Message("user", (clip, TextPart("What?"))), ANSWER], [1])
    two = renderer.render([Message("user", (*parts, TextPart("What?"))), ANSWER], [1])
    assert one == two
    assert one.count.image == 2 * TOKENS_PER_TILE


def test_a_region_is_counted_by_its_own_size(renderer: Renderer) -> None:
    from tests.pictures import encoded
    from vlmchat.chat.messages import Region

    media = media_from_bytes(encoded("PNG", 300, 300), "p.png")
    whole = renderer.count([Message("user", (ImagePart(media, "high"),)), ANSWER])
    cut = Message("user", (ImagePart(media, "high", Region(0, 0, 300, 40)),))
    assert renderer.count([cut, ANSWER]).image < whole.image
