"""Where answers look: equal to the library's own attention, laid over the right places."""

import io
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from PIL import Image, ImageStat

from benchmarks import evidence
from tests.adapters import save_adapter
from tests.engine_process import EngineProcess
from tests.pictures import encoded
from vlmchat.chat.messages import Message, TextPart, user_message
from vlmchat.chat.openai import to_openai
from vlmchat.demo.evaluating.answering import Said
from vlmchat.engine.adapters import wear
from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.evidence import Looked, grid_of, later_half, look, token_spans
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.prompt import Prompt
from vlmchat.engine.text.graphed import GraphedText
from vlmchat.engine.vision import encode_tiles
from vlmchat.media.images import media_from_bytes
from vlmchat.media.tiles import TilePlan
from vlmchat.media.windows import Window, elsewhere, highest, peak, windows
from vlmchat.models.progress import ignore_progress

ANSWER = "The picture shows a red circle."


def load(model: Path, **options: Any) -> LoadedModel:
    chosen = {"quant": "none", "dtype": "float32", "native": "off", **options}
    return load_model(LoadOptions(str(model), **chosen), ignore_progress)


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> LoadedModel:
    return load(tiny_model)


@pytest.fixture(scope="module")
def whole(tiny_model: Path) -> LoadedModel:
    return load(tiny_model, library=True)


def conversation() -> list[Message]:
    """Return a conversation with three pictures: tiles of both proportions, and a single one."""
    sizes = ((100, 70), (20, 20), (40, 96))
    first, second, third = (media_from_bytes(encoded("PNG", *size), "p") for size in sizes)
    return [
        user_message("What is in the pictures?", (first, second)),
        Message("assistant", (TextPart("A red circle."),)),
        user_message("And in this one?", (third,)),
    ]


def asked(loaded: LoadedModel, text: str = ANSWER) -> tuple[Prompt, list[int]]:
    messages = conversation()
    (ids,) = loaded.builder.answers(messages, [text], loaded.end_ids)
    return loaded.builder.build(messages), ids


def looked_at(loaded: LoadedModel, cancel: Event | None = None) -> Looked:
    prompt, ids = asked(loaded)
    caches = Caches(CacheLimits())
    return look(loaded, prompt, ids, ANSWER, cancel or Event(), caches)


@torch.inference_mode()
def library_says(loaded: LoadedModel) -> torch.Tensor:
    """Return the library's eager attention of the whole sequence: (layers, heads, all, all)."""
    prompt, ids = asked(loaded)
    sequence = [*prompt.ids, *ids[:-1]]
    embedded = loaded.text.embed(sequence).clone()
    tiles = [loaded.tile_maker.tiles(image) for image in prompt.images]
    features = [encode_tiles(loaded.model, [each], lambda: None).pooler_output for each in tiles]
    embedded[list(prompt.places)] = torch.cat(features).to(embedded)
    text = loaded.model.model.text_model
    kept, text.config._attn_implementation = text.config._attn_implementation, "eager"
    try:
        out = text(inputs_embeds=embedded[None], output_attentions=True, use_cache=False)
    finally:
        text.config._attn_implementation = kept
    return torch.stack([layer[0] for layer in out.attentions])


def check_equal(found: Looked, attentions: torch.Tensor) -> None:
    """Check that what was found is the library's attention, aggregated as documented."""
    places, size = list(found.prompt.places), len(found.prompt.ids)
    mean = attentions[later_half(len(attentions)).start :].mean((0, 1))[:, places]
    torch.testing.assert_close(found.rows, mean[size - 1 :], rtol=1e-4, atol=1e-6)
    text = mean[max(places[-1] + 1, size - 65) : size - 1]
    torch.testing.assert_close(found.baseline, text.mean(0), rtol=1e-4, atol=1e-6)


def test_attention_is_the_librarys(base: LoadedModel, whole: LoadedModel) -> None:
    attentions = library_says(whole)
    found = looked_at(base)
    assert [(image.plan.rows, image.plan.cols) for image in found.prompt.images] == [
        *((2, 3), (0, 0), (3, 1))
    ]
    check_equal(found, attentions)
    check_equal(looked_at(whole), attentions)
    seen = found.seen(found.whole)
    assert [tuple(grid.shape) for grid in seen.heat] == [(4, 6), (2, 2), (6, 2)]
    for grids in (seen.heat, seen.raw):
        assert float(sum(grid.sum() for grid in grids)) == pytest.approx(1, abs=1e-5)
    words = [ANSWER[word.begin : word.end] for word in found.words()]
    assert words == ANSWER.split()


@pytest.mark.slow
def test_an_adapter_looks_for_itself(
    tiny_model: Path, base: LoadedModel, whole: LoadedModel, tmp_path: Path
) -> None:
    for kind in ("lora", "prompt"):
        adapter = save_adapter(tiny_model, tmp_path / kind, kind)
        attentions = library_says(wear(whole, kind, adapter))
        assert attentions.shape[-1] > 0
        check_equal(looked_at(wear(base, kind, adapter)), attentions)
        check_equal(looked_at(wear(whole, kind, adapter)), attentions)


@pytest.mark.slow
def test_every_way_to_compute_can_be_watched(
    tiny_model: Path, base: LoadedModel, whole: LoadedModel
) -> None:
    wanted = looked_at(base).rows
    graphed = GraphedText(whole.model, lambda step: step)
    ids = [1, 60, 61, 62, 70, 71, 99, 44, 80, 81]
    quantized = load(tiny_model, quant="8bit")
    for text in (base.text, whole.text, graphed, quantized.text):
        cache = text.new_cache()
        told: list[tuple[Any, ...]] = []

        def watch(index: int, queries: Any, keys: Any, told: list[tuple[Any, ...]] = told) -> None:
            told.append((index, queries.shape, keys.shape))

        text.prefill(text.embed(ids[:6]), cache)
        logits = text.watched(text.embed(ids[6:]), cache, watch)
        assert told == [(index, (4, 2, 32), (1, 10, 32)) for index in (0, 1)]
        cache.crop(6)
        again = text.score(text.embed(ids[6:]), cache)
        torch.testing.assert_close(logits, again, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(looked_at(quantized).rows, wanted, rtol=0.3, atol=0.01)


def test_grids_lie_over_the_picture(whole: LoadedModel) -> None:
    plan = TilePlan(2, 3, 32, 4)
    for tile, token, cell in ((0, 0, (0, 0)), (2, 1, (0, 5)), (3, 2, (3, 0)), (5, 3, (3, 5))):
        values = torch.zeros(plan.image_tokens)
        values[tile * 4 + token] = 1
        grid = grid_of(values, plan)
        assert grid.shape == (4, 6) and grid[cell] == 1 and grid.sum() == 1
    values = torch.zeros(plan.image_tokens)
    values[-3] = 1  # the global view's upper right quarter
    assert grid_of(values, plan)[:2, 3:].tolist() == [[pytest.approx(1 / 6)] * 3] * 2
    # That tokens lie row by row is the connector's doing.
    rows, cols = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    patches = torch.stack((rows, cols), -1).view(1, 64, 2)
    shuffled = whole.model.model.connector.pixel_shuffle(patches, 2).view(16, 4, 2)
    assert torch.div(shuffled, 2, rounding_mode="floor").amax(1).tolist() == [
        [row, col] for row in range(4) for col in range(4)
    ]


def test_places_in_the_text() -> None:
    pieces = [b" A", b" na", b"\xc3", b"\xafve", b" caf\xc3", b"\xa9"]

    def decode(ids: list[int]) -> str:
        return b"".join(pieces[index] for index in ids).decode("utf-8", "replace")

    spans = token_spans(decode, range(6), "A naïve café")
    assert spans == [(0, 1), (1, 4), (4, 5), (4, 7), (7, 12), (11, 12)]


def test_places_elsewhere() -> None:
    grid = [[float((row, col) == (3, 1)) for col in range(5)] for row in range(5)]
    large = [[0.0] * 4] * 8
    assert windows(large)[-1] == Window(5, 3, 3, 1) and len(windows(large)) == 24
    assert Window(1, 0, 2, 2).box([[0.0] * 4] * 4) == (0, 0.25, 0.5, 0.75)
    top = peak(grid)
    assert highest([large, grid]) == (1, top)
    assert top.share(grid) == 1 and (top.rows, top.cols) == (2, 2)
    others = elsewhere(grid, top, 3, "seed")
    assert others == elsewhere(grid, top, 3, "seed") and len(set(others)) == 3
    assert not any(other.overlaps(top) for other in others)
    assert elsewhere([[1.0]], Window(0, 0, 1, 1), 3, "") == []


def test_it_can_be_stopped(base: LoadedModel) -> None:
    stopped = Event()
    stopped.set()
    with pytest.raises(CancelledError):
        looked_at(base, stopped)


# Over HTTP ----------------------------------------------------------------------------------------


def body(picture: bytes, answer: str = ANSWER) -> dict[str, Any]:
    question = user_message("What is it?", (media_from_bytes(picture, "p"),))
    return {"messages": to_openai([question, Message("assistant", (TextPart(answer),))])}


def ask(engine: EngineProcess, sent: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = engine.http.post("/v1/evidence", json={**sent, **fields})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def box_pixels(box: Sequence[float], width: int, height: int) -> tuple[float, ...]:
    return (box[0] * width, box[1] * height, box[2] * width, box[3] * height)


def painted(picture: bytes, box: Sequence[float]) -> bytes:
    """Return a picture with a part in its mean colour."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    width, height = image.size
    left, top, right, bottom = (round(edge) for edge in box_pixels(box, width, height))
    red, green, blue = (round(value) for value in ImageStat.Stat(image).mean)
    image.paste((red, green, blue), (left, top, right, bottom))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_hiding_is_what_scoring_says(engine: EngineProcess) -> None:
    picture = encoded("PNG", 96, 64)
    found = ask(engine, body(picture), elsewhere=2)
    hiding = found["hiding"]
    assert found["pictures"] == [{"rows": 4, "cols": 6}] and found["text"] == ANSWER
    assert len(hiding["elsewhere"]) == 2 and 0 < hiding["share"] <= 1
    assert 0 < found["whole"]["share"] < 1 and found["chosen"] == found["whole"]
    cases = [(hiding["hidden"], painted(picture, hiding["box"])), (hiding["logprob"], picture)]
    cases += [(row["hidden"], painted(picture, row["box"])) for row in hiding["elsewhere"]]
    for value, shown in cases:
        sent = body(shown)
        scored = {"messages": sent["messages"][:1], "continuations": [ANSWER]}
        row = engine.http.post("/v1/score", json=scored).json()["data"][0]
        assert value == pytest.approx(row["logprob"], abs=0.15)  # bfloat16, read in other pieces
    begin = ANSWER.index("red")
    word = ask(engine, body(picture), word=[begin, begin + 3], hide=False)
    assert word["hiding"] is None and word["chosen"] in found["words"]
    assert word["chosen"]["logprob"] > found["whole"]["logprob"]


def test_what_cannot_be_looked_into(engine: EngineProcess) -> None:
    good = body(encoded("PNG", 40, 40))
    nothing = {"messages": [{"role": "user", "content": "Hi"}, good["messages"][-1]]}
    for sent, said in (
        (nothing, "There is no picture before this answer"),
        ({"messages": good["messages"][:1]}, "has to be the assistant's answer"),
        ({**good, "word": [5, 500]}, "There is no word from character 5 to 500"),
        ({**good, "word": [3, 4]}, "There is no word"),
        ({**good, "elsewhere": 99}, "elsewhere"),
        (body(encoded("PNG", 40, 40), "word " * 1000), "ask about an earlier or a shorter"),
    ):
        response = engine.http.post("/v1/evidence", json=sent)
        assert response.status_code == 400, response.text
        assert said in response.json()["error"]["message"]


@pytest.mark.slow
def test_the_benchmark_judges_scenes(base: LoadedModel) -> None:
    class Says:
        def ask(self, _: Message) -> Said:
            return Said("The shape is red.", 0.0, 0)

    rows = [evidence.judged(base, Says(), it, sweep=not it, layers=True) for it in range(2)]
    for row in rows:
        assert len(row["peaks"]) == 12 and 0 < row["chance"] < 1
        assert len(row["lost_elsewhere"]) == evidence.OTHERS
    told = evidence.report(rows)
    assert "2 scenes" in told and "later half, all words, bare" in told
    assert "hiding every place (1 scenes)" in told
    shape = evidence.drawn(0).shape
    assert evidence.inside(shape, *evidence.centre(evidence.around(shape)))
    assert evidence.drawn(0).image.tobytes() == evidence.drawn(0).image.tobytes()
