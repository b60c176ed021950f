"""In which numbers a training multiplies, and that nothing else changes by it."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from vlmchat.demo.training import numerics, settings
from vlmchat.demo.training.optimizers import orthogonal
from vlmchat.demo.training.tower import gelu


def test_gelu_is_the_library_s() -> None:
    inner = torch.linspace(-9, 9, 4001)
    wanted = torch.nn.functional.gelu(inner, approximate="tanh")
    torch.testing.assert_close(gelu(inner), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fastest", [torch.bfloat16, torch.float32])
def test_auto_is_what_this_processor_multiplies_faster(
    fastest: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numerics, "product_dtype", lambda: fastest)
    shipped = settings.load(None)
    assert shipped.run.numbers == "auto"
    settled = numerics.settled(shipped)
    assert numerics.dtype(settled.run) is fastest
    with numerics.products(settled.run):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is fastest
    named = replace(shipped, run=replace(shipped.run, numbers="float32"))
    assert numerics.settled(named) is named


def test_fewer_digits_make_about_the_same_directions() -> None:
    torch.manual_seed(1)
    matrix = torch.randn(24, 40)
    exact, rough = orthogonal(matrix), orthogonal(matrix, torch.bfloat16)
    assert rough.dtype is torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.03)


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are asked for on Linux")
@pytest.mark.parametrize("told", [None, "glibc.malloc.arena_max=1"])
def test_it_starts_itself_again_once_and_only_where_nobody_said_how(told: str | None) -> None:
    code = (
        "import os; from vlmchat.demo.training import numerics\n"
        "numerics.with_large_pages(); print(os.environ['GLIBC_TUNABLES'])"
    )
    kept = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    given = kept if told is None else {**kept, "GLIBC_TUNABLES": told}
    done = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert line == told if told else "glibc.malloc.hugetlb=1" in line
