"""The tower that is trained is the library's, under the library's names."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionEmbeddings

from tests.demo.small import SMALL
from vlmchat.demo.training import exporting, warm
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.optimizers import Muon, orthogonal
from vlmchat.demo.training.settings import Optimizer, load
from vlmchat.demo.training.tower import Shape, Tower, from_library, positions, to_library
from vlmchat.models.demo_model import shipped_weights

FINE = Shape(side=240, patch=16, hidden=32, layers=2, heads=2, inner=64, scale=3, width=64)


def drawn(count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 240, 240, 3), dtype=torch.uint8, generator=generator)


def noisy(shape: Shape) -> Tower:
    """Return a tower none of whose weights is zero, so that each counts."""
    torch.manual_seed(3)
    tower = Tower(shape)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return tower


def librarys(shape: Shape) -> Any:
    from transformers import SmolVLMConfig
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMModel

    config = SmolVLMConfig(
        text_config={
            "model_type": "llama",
            "hidden_size": shape.width,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vocab_size": 50,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": shape.hidden,
            "intermediate_size": shape.inner,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "image_size": shape.side,
            "patch_size": shape.patch,
        },
        scale_factor=shape.scale,
        image_token_id=7,
    )
    return SmolVLMModel(config).eval()


@pytest.mark.parametrize("shape", [FINE, SMALL], ids=["patch 16", "patch 24"])
def test_features_are_the_librarys(shape: Shape) -> None:
    tower, model, pixels = noisy(shape), librarys(shape), drawn(3)
    weights = {name.removeprefix("model."): it for name, it in to_library(tower).items()}
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith("text_model.") for name in missing.missing_keys)
    values = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        theirs = model.get_image_features(pixel_values=values[:, None]).pooler_output
        ours = tower(pixels)
    torch.testing.assert_close(ours, torch.stack(list(theirs)).view_as(ours), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", [5, 6, 10, 15, 24])
def test_places_are_the_librarys(grid: int) -> None:
    class Config:
        hidden_size, image_size, patch_size, num_channels = 4, grid * 2, 2, 3

    embeddings: Any = SmolVLMVisionEmbeddings(Config())
    with torch.no_grad():
        embeddings.patch_embedding.weight.zero_()
        embeddings.patch_embedding.bias.zero_()
    mask = torch.ones(1, grid, grid, dtype=torch.bool)
    found = embeddings(torch.zeros(1, 3, grid * 2, grid * 2), mask)[0]
    assert torch.equal(found, embeddings.position_embedding.weight[positions(grid)])


def test_weights_come_back_as_they_went() -> None:
    tower = noisy(FINE)
    again = from_library(FINE, to_library(tower))
    for name, tensor in tower.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_an_export_is_laid_out_like_the_shipped_weights(tmp_path: Path) -> None:
    text = json.loads((shipped_weights() / "config.json").read_text())["text_config"]
    tower, adapter = Tower(Shape()), Adapter(text, load().reading.rank)
    exporting.export(tower, tmp_path, adapter, {"scene": 1.0})
    files, shipped = (
        {str(file.relative_to(folder)) for file in folder.rglob("*")}
        for folder in (tmp_path, shipped_weights())
    )
    assert files == shipped
    reads, ours = (
        load_file(folder / "reading" / "adapter_model.safetensors")
        for folder in (shipped_weights(), tmp_path)
    )
    assert {name: it.shape for name, it in reads.items()} == {
        name: it.shape for name, it in ours.items()
    }
    config = json.loads((tmp_path / "config.json").read_text())
    assert Shape.of_config(config) == Shape()
    before = load_file(shipped_weights() / "vision.safetensors")
    weights = load_file(tmp_path / "vision.safetensors")
    assert weights.keys() == before.keys()
    assert all(tensor.dtype == torch.bfloat16 for tensor in weights.values())
    again = exporting.load(tmp_path)
    torch.testing.assert_close(again.places, tower.places, rtol=0, atol=0.01)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < 30_000_000


def test_coarse_weights_begin_a_fine_tower_that_sees_much_the_same() -> None:
    old = noisy(SMALL)
    made = warm.resampled(old, FINE)
    # What a patch filter finds in a plain colour stays, and so does the projection of even patches.
    grey = torch.full((1, 240, 240, 3), 90, dtype=torch.uint8)
    with torch.no_grad():
        before = old.patch(old.patches(grey).float())[0, 0]
        after = made.patch(made.patches(grey).float())[0, 0]
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
        even = torch.randn(1, 1, SMALL.hidden)
        wide = old.projection(old.squares(even.expand(1, SMALL.grid**2, -1)))
        narrow = made.projection(made.squares(even.expand(1, FINE.grid**2, -1)))
    torch.testing.assert_close(narrow, wide, rtol=1e-4, atol=1e-4)
    corner = made.places.view(15, 15, -1)[0, 0], old.places.view(10, 10, -1)[0, 0]
    assert torch.cosine_similarity(*corner, dim=0) > 0.9


def test_whitened_filters_find_equally_loud_things() -> None:
    torch.manual_seed(1)
    tower = Tower(FINE)
    pixels = torch.nn.functional.interpolate(
        torch.rand(20, 3, 30, 30) * 255, (240, 240), mode="bilinear"
    )
    pixels = pixels.permute(0, 2, 3, 1).to(torch.uint8)
    warm.whiten(tower, pixels)
    found = tower.patch(tower.patches(pixels).flatten(0, 1).float() / 127.5 - 1)
    assert found.mean(0).abs().max() < 0.1
    assert found.std(0).max() < 3 * found.std(0).min()


def rates() -> Optimizer:
    return load().optimizer


def test_muon_does_what_torchs_does() -> None:
    torch.manual_seed(4)
    ours = torch.nn.Parameter(torch.randn(24, 40))
    theirs = torch.nn.Parameter(ours.detach().clone())
    settings = rates()
    muon = Muon([(ours, 1)], settings)
    torchs = torch.optim.Muon(
        [theirs],
        lr=0.01,
        weight_decay=settings.matrices_decay,
        momentum=settings.momentum,
        adjust_lr_fn="match_rms_adamw",
    )
    for _ in range(5):
        gradient = torch.randn(24, 40)
        ours.grad, theirs.grad = gradient, gradient.clone()
        muon.step(0.01)
        torchs.step()  # type: ignore[no-untyped-call]  # torch's method has no types
    # Torch rounds through bfloat16.
    torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.01)


def test_matrices_that_lie_in_one_are_made_orthogonal_one_by_one() -> None:
    torch.manual_seed(5)
    three = torch.randn(3, 16, 16)
    together = orthogonal(three)
    for one, part in zip(three, together, strict=True):
        torch.testing.assert_close(part, orthogonal(one), rtol=1e-4, atol=1e-4)
        assert torch.linalg.svdvals(part).min() > 0.4
        assert torch.linalg.svdvals(part).max() < 1.4
