"""Packed matrices stay near what they were, and multiply as what they are."""

import pytest
import torch

from tests.engine.native.conftest import EACH_VARIANT, Compiled
from vlmchat.engine.native.library import Team, Weight, bits_of


def _allowed(matrix: torch.Tensor, bits: int) -> torch.Tensor:
    """Half a step of each group, and what scales and least values lose as float16."""
    groups = matrix.float().view(len(matrix), -1, 32)
    least, most = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    if bits == 4:
        allowed = (most - least) / 15 * (0.5 + 15 / 2048) + least.abs() / 2048
    else:
        allowed = torch.maximum(most, -least) / 127 * (0.5 + 127 / 2048)
    # Values below the smallest float16 scale vanish.
    return torch.add((allowed * 1.01).expand_as(groups).flatten(1), 4e-6)


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_error_of_a_value(compiled: Compiled, variant: str, bits: int, dtype: torch.dtype) -> None:
    team = Team(compiled(variant), 2)
    torch.manual_seed(0)
    matrix = (torch.randn(333, 96) * torch.rand(333, 1) ** 4).to(dtype)  # 333 = 20 blocks and 13
    matrix[7], matrix[8], matrix[9, :32], matrix[10] = 0, 1e-9, 0.75, 3e4
    back = team.unpack(team.pack(matrix, bits), torch.empty_like(matrix, dtype=torch.float32))
    assert bool(((back - matrix.float()).abs() <= _allowed(matrix, bits)).all())
    assert back[7].abs().max() == 0
    some = torch.empty(40, 96, dtype=dtype)
    assert torch.equal(team.unpack(team.pack(matrix, bits), some, 288), back[288:328].to(dtype))


@pytest.mark.parametrize("variant", EACH_VARIANT)
def test_values_on_a_grid_are_kept(compiled: Compiled, variant: str) -> None:
    team = Team(compiled(variant), 1)
    torch.manual_seed(1)
    grid = torch.randint(0, 16, (48, 4, 32)).float()
    grid[..., 0], grid[..., 1] = 0, 15
    scale = (torch.rand(48, 4, 1) / 64).half().float()
    least = (-7.5 * scale).half().float()
    matrix = (least + scale * grid).flatten(1)
    back = team.unpack(team.pack(matrix, 4), torch.empty_like(matrix))
    torch.testing.assert_close(back, matrix, rtol=0, atol=2e-7)


@pytest.mark.parametrize("variant", EACH_VARIANT)
@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("threads", [1, 3])
def test_product(compiled: Compiled, variant: str, bits: int, threads: int) -> None:
    team = Team(compiled(variant), threads)
    torch.manual_seed(2)
    matrix, x = torch.randn(331, 160), torch.randn(160) * 3
    if bits < 16:
        weight = team.pack(matrix, bits)
        matrix = team.unpack(weight, torch.empty_like(matrix))
    else:
        matrix = matrix.bfloat16() if bits == 16 else matrix
        weight = Weight.dense(matrix)
        assert weight.bits == bits_of(matrix.dtype) == bits
    out = team.multiply(weight, x, torch.empty(331))
    expected = matrix.float() @ x
    error = (out - expected).norm() / expected.norm()
    assert error < (0.01 if bits < 16 else 1e-5)  # 8-bit activations cost half a percent


def test_columns_that_are_no_groups(compiled: Compiled) -> None:
    with pytest.raises(ValueError, match="48 columns"):
        Team(compiled(""), 1).pack(torch.zeros(16, 48), 4)
