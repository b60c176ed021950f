"""The fast vision tower computes what the library's does, on the same weights."""

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionEmbeddings

from tests.pictures import encoded
from tests.tiny import TILE
from vlmchat.engine import products, tower
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.products import product_dtype
from vlmchat.engine.tower import Tower, is_plain, joined, parts, positions
from vlmchat.engine.views import changeable
from vlmchat.engine.vision import encode_tiles


def load(folder: Path, dtype: str = "float32", quant: str = "none") -> LoadedModel:
    return load_model(LoadOptions(str(folder), quant, "cpu", dtype=dtype), lambda _: None)


def noise(tiles: int) -> torch.Tensor:
    return torch.rand(tiles, 3, TILE, TILE, generator=torch.manual_seed(7)) * 2 - 1


def librarys(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return what the library makes of tiles, of shape (tokens, hidden)."""
    with torch.inference_mode():
        pooled = changeable(model).get_image_features(pixel_values=pixels[None]).pooler_output
    return torch.cat(list(pooled)).reshape(-1, pooled[0].shape[-1])


def ours(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = encode_tiles(model, [pixels], lambda: None).pooler_output
    return result


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_idefics3"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_features_are_the_librarys(
    kind: str, dtype: str, tolerance: float, request: pytest.FixtureRequest
) -> None:
    model = load(request.getfixturevalue(kind), dtype).model
    pixels = noise(7)
    before = librarys(model, pixels)
    assert is_plain(model)
    mine = ours(model, pixels)
    assert mine.dtype == model.dtype
    torch.testing.assert_close(mine, before, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours(model, pixels), mine)  # with weights that are joined already
    torch.testing.assert_close(librarys(model, pixels), before)  # which the library goes on with


def test_8_bit_pixels_give_the_same_features(tiny_model: Path) -> None:
    from vlmchat.chat.messages import user_message
    from vlmchat.media.images import media_from_bytes

    loaded = load(tiny_model)
    picture = media_from_bytes(encoded(width=150, height=90), "p.png")
    (image,) = loaded.builder.build([user_message("?", (picture,), "high")]).images
    raw, maker = loaded.tile_maker.raw(image), loaded.tile_maker
    assert raw.dtype == torch.uint8 and torch.equal(maker.normalised(raw), maker.tiles(image))
    with torch.inference_mode():
        mine = encode_tiles(loaded.model, [raw], lambda: None, maker.normalised).pooler_output
    assert torch.equal(mine, ours(loaded.model, maker.tiles(image)))


def test_weights_are_not_held_twice(tiny_model: Path) -> None:
    model = load(tiny_model).model
    layer = model.model.vision_model.encoder.layers[0]
    Tower(model, model.dtype)._computed(layer)
    attention = layer.self_attn
    parts = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1
    again = Tower(model, model.dtype)._computed(layer).qkv.weight
    assert again.data_ptr() == parts[0].data_ptr() and torch.equal(again, torch.cat(parts))
    assert all(isinstance(part, torch.nn.Parameter) for part in parts)


def test_layers_are_converted_in_the_same_place(tiny_model: Path) -> None:
    model = load(tiny_model).model
    tower, layers = Tower(model, torch.float64), model.model.vision_model.encoder.layers
    with torch.inference_mode():
        first = tower._computed(layers[0])
        places = [weight.data_ptr() for weight in first.tensors()]
        second = tower._computed(layers[1])
    assert [weight.data_ptr() for weight in second.tensors()] == places
    attention = layers[1].self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    assert torch.equal(second.qkv.weight, torch.cat([it.weight for it in projections]).double())
    assert torch.equal(second.qkv.bias, torch.cat([it.bias for it in projections]).double())
    assert torch.equal(second.fc2.weight, layers[1].mlp.fc2.weight.double())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its mappings")
def test_joined_weights_leave_the_memory_of_their_file(tmp_path: Path) -> None:
    size = 1 << 22
    save_file({name: torch.full((size,), 3.0) for name in "ab"}, tmp_path / "w.safetensors")
    before = file_bytes()
    weights = load_file(tmp_path / "w.safetensors")
    one, other = (torch.nn.Parameter(weights[name], requires_grad=False) for name in "ab")
    seen = one.detach()
    assert float(one.sum() + other.sum()) == 6.0 * size and file_bytes() - before > 7 * size
    whole = joined([one, other])
    assert file_bytes() - before < size
    assert torch.equal(whole[:size], one) and float(whole.sum()) == 6.0 * size
    assert float(seen.sum()) == 3.0 * size  # whoever held them reads them again


def file_bytes() -> int:
    """Return how much of mapped files is in this process's memory."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("RssFile:")[1].split()[0]) * 1024


@pytest.mark.parametrize("side", [3, 4, 27, 32])
def test_places_are_the_librarys(side: int) -> None:
    class Config:
        hidden_size, image_size, patch_size, num_channels = 1, side, 1, 1

    embeddings = SmolVLMVisionEmbeddings(Config())
    with torch.no_grad():  # so that what comes out is the place
        embeddings.patch_embedding.weight.zero_()
        embeddings.patch_embedding.bias.zero_()
        embeddings.position_embedding.weight.copy_(torch.arange(side * side)[:, None])
        for rows, cols in itertools.product({1, 2, side - 1, side}, repeat=2):
            mask = torch.ones(1, rows, cols, dtype=torch.bool)
            theirs = embeddings(torch.zeros(1, 1, rows, cols), mask)[0, :, 0]
            assert torch.equal(positions(rows, cols, side).float(), theirs), (rows, cols)


def test_what_was_put_in_is_left_to_the_library(tiny_model: Path) -> None:
    model = changeable(load(tiny_model).model)
    pixels = noise(2)
    before = ours(model, pixels)
    layer = model.model.vision_model.encoder.layers[0].mlp
    hook = layer.register_forward_hook(lambda module, given, out: out * 2)
    assert not is_plain(model)
    assert not torch.allclose(ours(model, pixels), before)
    torch.testing.assert_close(ours(model, pixels), librarys(model, pixels))
    hook.remove()
    layer.fc1 = torch.nn.Sequential(layer.fc1)
    assert not is_plain(model)
    torch.testing.assert_close(ours(model, pixels), before)


def test_it_stops_within_a_layer(tiny_model: Path) -> None:
    model = load(tiny_model).model
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise CancelledError

    with torch.inference_mode(), pytest.raises(CancelledError):
        encode_tiles(model, [noise(2)], check)
    assert calls == 3


def test_parts_are_even() -> None:
    def sizes(tiles: int, most: int) -> list[int]:
        return [len(part) for part in parts(torch.zeros(tiles, 1), most)]

    assert sizes(1, 2) == [1] and sizes(13, 3) == [3, 3, 3, 2, 2] and sizes(17, 16) == [9, 8]
    assert max(sizes(64, 16)) == 16 and sum(sizes(64, 3)) == 64


def test_many_tiles_go_in_groups(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny_model).model
    pixels = noise(7)
    before = ours(model, pixels)
    monkeypatch.setattr(tower, "_TOGETHER", 3)
    torch.testing.assert_close(ours(model, pixels), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stored_and_computed_numbers_may_differ(tiny_model: Path, dtype: torch.dtype) -> None:
    model = load(tiny_model, "bfloat16").model
    pixels = noise(2)
    with torch.inference_mode():
        mine = Tower(model, dtype).encode(pixels, lambda: None).flatten(0, 1)
    assert mine.dtype == torch.bfloat16
    torch.testing.assert_close(mine, librarys(model, pixels), rtol=0.05, atol=0.05)
    assert model.dtype == torch.bfloat16


def test_what_is_faster_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for narrow, expected in ((0.5, torch.bfloat16), (1.7, torch.float32), (90, torch.float32)):
        seconds = {torch.float32: 1.0, torch.bfloat16: narrow}
        monkeypatch.setattr(products, "_seconds", seconds.__getitem__)
        product_dtype.cache_clear()
        assert product_dtype() == expected
    product_dtype.cache_clear()
