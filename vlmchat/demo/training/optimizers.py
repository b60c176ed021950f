"""Muon for the matrices inside the layers, AdamW for everything else.

Muon (Keller Jordan, https://kellerjordan.github.io/posts/muon/) as ``torch.optim.Muon`` computes it
with ``adjust_lr_fn="match_rms_adamw"`` (arXiv:2502.16982). It is written out here for three
reasons: torch's multiplies in bfloat16 always, which is slow on processors without matrix units;
queries, keys and values lie in one matrix but are three; and workers share the work, a part of the
matrices each.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.settings import Optimizer
from vlmchat.demo.training.tower import Tower

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_EPS = 1e-7

Share = Callable[[list[torch.Tensor]], None]
"""Takes updates of which a worker has computed its part, and fills in the others'."""


def orthogonal(matrix: torch.Tensor, numbers: torch.dtype = torch.float32) -> torch.Tensor:
    """Return about the nearest matrix whose singular values are all one.

    Args:
        matrix: (…, rows, columns); several are made orthogonal one by one.
        numbers: what is multiplied; bfloat16 is enough, as in `torch.optim.Muon`.

    Returns:
        The same shape and dtype.
    """
    a, b, c = _COEFFICIENTS
    found = matrix.to(numbers)
    tall = matrix.shape[-2] > matrix.shape[-1]
    if tall:
        found = found.mT
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPS)
    for _ in range(_ROUNDS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    result: torch.Tensor = found.mT if tall else found
    return result.to(matrix.dtype)


class Muon:
    """Momentum whose updates are made orthogonal.

    Args:
        matrices: parameters, each with the number of matrices that lie in it one below the other.
        settings: momentum and decay.
        worker: number of this worker.
        workers: how many there are.
        share: exchanges updates between them.
        numbers: what is multiplied.
    """

    def __init__(
        self,
        matrices: Iterable[tuple[nn.Parameter, int]],
        settings: Optimizer,
        worker: int = 0,
        workers: int = 1,
        share: Share | None = None,
        numbers: torch.dtype = torch.float32,
    ) -> None:
        self._matrices = list(matrices)
        self._momentum = settings.momentum
        self._decay = settings.matrices_decay
        self._worker, self._workers = worker, workers
        self._share = share
        self._numbers = numbers
        self.buffers = [torch.zeros_like(parameter) for parameter, _ in self._matrices]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the parameters by their gradients, which all workers have the same."""
        updates = [torch.empty(0)] * len(self._matrices)
        for place, (parameter, count) in enumerate(self._matrices):
            assert parameter.grad is not None
            buffer = self.buffers[place]
            buffer.lerp_(parameter.grad, 1 - self._momentum)
            if place % self._workers == self._worker:
                ahead = parameter.grad.lerp(buffer, self._momentum)
                parts = ahead.view(count, -1, ahead.shape[-1])
                updates[place] = orthogonal(parts, self._numbers).reshape(parameter.shape)
            else:
                updates[place] = torch.empty_like(parameter)
        if self._share is not None:
            self._share(updates)
        for (parameter, count), update in zip(self._matrices, updates, strict=True):
            rows, columns = parameter.shape
            scale = 0.2 * math.sqrt(max(rows // count, columns))
            parameter.mul_(1 - rate * self._decay).add_(update, alpha=-rate * scale)


class Optimizers:
    """Both optimizers of a tower, or AdamW alone of an adapter.

    Args:
        trained: whose parameters they change.
        settings: rates.
        height: what all rates are multiplied with.
        worker: number of this worker.
        workers: how many there are.
        share: exchanges updates between them.
        numbers: what is multiplied.
    """

    def __init__(
        self,
        trained: Tower | Adapter,
        settings: Optimizer,
        height: float = 1.0,
        worker: int = 0,
        workers: int = 1,
        share: Share | None = None,
        numbers: torch.dtype = torch.float32,
    ) -> None:
        self._settings = settings
        self._height = height
        named = list(trained.named_parameters())
        inner = [(name, it) for name, it in named if it.ndim == 2 and name.startswith("blocks.")]
        chosen = {name for name, _ in inner}
        pairs = [(it, 3 if ".qkv." in name else 1) for name, it in inner]
        self._names = [name for name, _ in inner]
        self.muon = Muon(pairs, settings, worker, workers, share, numbers)
        self._others = [(name, it) for name, it in named if name not in chosen]
        self.adam = torch.optim.AdamW(
            [it for _, it in self._others],
            lr=settings.others,
            betas=settings.betas,
            weight_decay=settings.others_decay,
            fused=True,
        )
        self._all = [it for _, it in named]

    def step(self, factor: float) -> float:
        """Clip the gradients, take a step and forget them.

        Args:
            factor: what the schedule multiplies the rates with.

        Returns:
            The gradients' norm before clipping.
        """
        norm = float(nn.utils.clip_grad_norm_(self._all, self._settings.clip))
        if not math.isfinite(norm):  # one step is lost, not the run
            for parameter in self._all:
                parameter.grad = None
            return norm
        self.muon.step(self._settings.matrices * self._height * factor)
        self.adam.param_groups[0]["lr"] = self._settings.others * self._height * factor
        self.adam.step()
        for parameter in self._all:
            parameter.grad = None
        return norm

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a later start needs, by names of its own."""
        found = {
            f"muon.{name}": buffer
            for name, buffer in zip(self._names, self.muon.buffers, strict=True)
        }
        for name, parameter in self._others:
            for key, value in self.adam.state.get(parameter, {}).items():
                found[f"adam.{key}.{name}"] = value
        return found

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` returned.

        Raises:
            KeyError: it is the state of something else.
        """
        for name, buffer in zip(self._names, self.muon.buffers, strict=True):
            buffer.copy_(state[f"muon.{name}"])
        for name, parameter in self._others:
            own = {
                key: state[f"adam.{key}.{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in state
            }
            if own:
                moved = {
                    key: value if key == "step" and not parameter.is_cuda else value.to(parameter)
                    for key, value in own.items()
                }
                self.adam.state[parameter] = moved
