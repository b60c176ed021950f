"""Checkpoints: one file with the weights, the optimizers' state and where the run is.

The tensors are in safetensors' format, and everything else is JSON in its header, so that one
rename makes the whole of it valid at once.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.tower import Shape, Tower
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.finetune.files import write_whole

_VERSION = 1
_TOWER, _ADAPTER, _OPTIMIZER = "tower.", "adapter.", "optimizer."


@dataclass(slots=True)
class State:
    """Where a run is.

    Attributes:
        phase: 1, 2 or 3.
        step: steps of this phase so far.
        images: pictures seen in this phase.
        seconds: that this phase has run, over all starts.
        ladder: of the curriculum.
    """

    phase: int
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    ladder: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        state: where the run was.
        settings: the run's settings, all tables.
        shape: of the tower.
        tower: its weights; none in phase 2.
        adapter: the text model's adapter's weights; in phase 2 alone.
        optimizer: the state of what changes them.
    """

    state: State
    settings: dict[str, Any]
    shape: Shape
    tower: dict[str, torch.Tensor]
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]

    def made(self) -> Tower:
        """Return the tower, with the layer beside it if it had one."""
        tower = Tower(self.shape, len(self.tower.get("aside.bias", ())))
        tower.load_state_dict(self.tower)
        return tower

    def laid(self, config: dict[str, Any]) -> Adapter:
        """Return the adapter.

        Args:
            config: of the text model that it is for.
        """
        adapter = Adapter(config, int(self.settings["reading"]["rank"]))
        adapter.load_state_dict(self.adapter)
        return adapter


def path(work: Path, phase: int) -> Path:
    """Return where the checkpoint of a phase lies."""
    return work / f"phase{phase}.safetensors"


def write(
    work: Path,
    state: State,
    settings: dict[str, Any],
    trained: Tower | Adapter,
    optimizer: dict[str, torch.Tensor],
) -> Path:
    """Write a checkpoint in the place of the one before.

    Raises:
        VlmchatError: it cannot be written; the one before is still there.
    """
    prefix = _TOWER if isinstance(trained, Tower) else _ADAPTER
    tensors = {f"{prefix}{name}": tensor for name, tensor in trained.state_dict().items()}
    tensors |= {f"{_OPTIMIZER}{name}": tensor for name, tensor in optimizer.items()}
    about = {
        "version": _VERSION,
        "phase": state.phase,
        "step": state.step,
        "images": state.images,
        "seconds": state.seconds,
        "ladder": state.ladder,
        "settings": settings,
    }
    target = path(work, state.phase)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_whole(target, save(plain, metadata={"vlmchat": json.dumps(about)}))
    except OSError as error:
        raise VlmchatError(
            f"The checkpoint {target.name} cannot be written ({error.strerror or error}): make "
            "room on the disk and start again, it goes on from the checkpoint before."
        ) from error
    return target


def read(file: Path) -> Checkpoint:
    """Return what a checkpoint holds.

    Raises:
        UsageError: it is none, or of another version.
    """
    try:
        with safe_open(file, "pt") as stored:
            about = json.loads((stored.metadata() or {})["vlmchat"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{file.name} is no checkpoint of the demo's training.") from error
    if about["version"] != _VERSION:
        raise UsageError(f"{file.name} is a checkpoint of another version: begin anew.")
    state = State(about["phase"], about["step"], about["images"], about["seconds"], about["ladder"])
    return Checkpoint(
        state,
        about["settings"],
        Shape(**about["settings"]["tower"]),
        _under(_TOWER, tensors),
        _under(_ADAPTER, tensors),
        _under(_OPTIMIZER, tensors),
    )


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
