"""Weights of fewer bits, in the layouts that torch multiplies on processors.

Each matrix multiplies few rows by an operation that reads the packed weights once a row or so, and
many rows by the dense product of what was unpacked into a workspace, which is the same memory for
matrix after matrix. Measured on AVX512-BF16 without AMX, the two meet at 32 rows.
"""

import functools
import logging
from typing import Protocol

import torch
from torch.nn import functional

log = logging.getLogger(__name__)

GROUP = 32
"""Weights that share a scale and a zero."""

_FEW = 32
_BLOCK = 64  # columns that the 4-bit layout holds apart, if it does
_HEAD_ROWS = 8192
_WIDTH = 32  # the 8-bit operation reads rows in steps of it, and past their end otherwise


class Matrix(Protocol):
    """A matrix of weights, (outputs, inputs), that multiplies rows.

    Attributes:
        bits: of a weight.
        nbytes: of all that is read for a product.
    """

    bits: int
    nbytes: int

    @property
    def gathers(self) -> bool:
        """Whether `some` costs no more than what it returns."""

    def one(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows (few, inputs) times the matrix: (few, outputs)."""

    def many(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the same for any number of rows."""

    def dense(self) -> torch.Tensor:
        """Return the weights that are multiplied, (outputs, inputs), in float32."""

    def some(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return those of some outputs, given as indices: (outputs, inputs), in float32."""


class Workspace:
    """Memory for what is unpacked, used again for every matrix; not shared between threads."""

    def __init__(self) -> None:
        self._room = torch.empty(0)

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
        """Return room for a matrix, valid until the next one is taken."""
        size = rows * columns
        if self._room.numel() < size or self._room.dtype != dtype:
            self._room = torch.empty(size, dtype=dtype)
        return self._room[:size].view(rows, columns)


class Dense:
    """Weights as they are.

    Args:
        weight: of shape (outputs, inputs).
    """

    gathers = True

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight.contiguous()
        self.bits = 8 * weight.itemsize
        self.nbytes = weight.nbytes

    def one(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        return functional.linear(rows, self.weight)

    many = one

    def dense(self) -> torch.Tensor:
        """See `Matrix`."""
        return self.weight.float()

    def some(self, outputs: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        return self.weight[outputs].float()


class Int8Rows:
    """Weights of 8 bits, symmetric, with a scale for each output: for shapes `Int8` cannot have.

    Args:
        weight: of shape (outputs, inputs), with inputs in multiples of 32.
        workspace: to unpack into.

    Raises:
        ValueError: there is no operation for this shape or type here.
    """

    bits = 8
    gathers = True

    def __init__(self, weight: torch.Tensor, workspace: Workspace) -> None:
        _check_int8(weight.shape[1], weight.dtype)
        self._dtype, self._workspace = weight.dtype, workspace
        whole = weight.float()
        scale = whole.abs().amax(dim=1, keepdim=True).div_(127).clamp_(min=1e-12)
        # What will be multiplied with is what is divided by: the scale that it is rounded to.
        scale = scale.to(weight.dtype)
        values = whole.mul(scale.float().reciprocal()).round_().clamp_(-127, 127)
        self._packed = values.to(torch.int8)
        self._scale = scale[:, 0].contiguous()
        self.nbytes = self._packed.nbytes + self._scale.nbytes

    def one(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        product: torch.Tensor = torch.ops.aten._weight_int8pack_mm(rows, self._packed, self._scale)
        return product

    def many(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        if len(rows) <= _FEW:
            return self.one(rows.contiguous())
        outputs, inputs = self._packed.shape
        result = rows.new_empty(len(rows), outputs)
        for first in range(0, outputs, _HEAD_ROWS):
            part = self._packed[first : first + _HEAD_ROWS]
            room = self._workspace.take(len(part), inputs, self._dtype)
            result[:, first : first + len(part)] = functional.linear(rows, room.copy_(part))
        return result.mul_(self._scale)

    def dense(self) -> torch.Tensor:
        """See `Matrix`."""
        return self._packed.float() * self._scale.float()[:, None]

    def some(self, outputs: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        return self._packed[outputs].float() * self._scale[outputs].float()[:, None]


class _Grouped:
    """Integers with a scale and a zero for each 32 inputs of an output; see `Int8` and `Int4`.

    The operation knows 4 bits only. An integer of 8 is two of them, of which the upper one has
    sixteen times the scale, and a matrix of such integers is two matrices one below the other.
    """

    bits: int

    def __init__(self, weight: torch.Tensor, workspace: Workspace) -> None:
        outputs, inputs = weight.shape
        _check_int4(outputs, inputs, weight.dtype)
        self._outputs, self._inputs = outputs, inputs
        self._dtype, self._workspace = weight.dtype, workspace
        most, middle = (1 << self.bits) - 1, self._middle
        groups = weight.float().view(outputs, inputs // GROUP, GROUP)
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        # Rounded first, so that what is divided by is what will be multiplied with.
        scale = (high - low).div_(most).clamp_(min=1e-12).to(weight.dtype).float()
        zero = low.add_(scale, alpha=middle).to(weight.dtype).float()
        values = groups.sub(zero).mul_(scale.reciprocal()).round_().add_(middle).clamp_(0, most)
        values = values.to(torch.int32).view(outputs, inputs)
        pairs = torch.cat((scale, zero), dim=-1)
        if self.bits > 4:
            values = torch.cat((values >> 4, values & 15))
            pairs = torch.cat((pairs * pairs.new_tensor([16, 1]), pairs * pairs.new_tensor([1, 0])))
        self._packed: torch.Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
        self._scales = pairs.transpose(0, 1).to(weight.dtype).contiguous()
        self.nbytes = self._packed.nbytes + self._scales.nbytes

    @property
    def gathers(self) -> bool:
        """See `Matrix`."""
        return _unpacks(self._dtype)

    @property
    def _middle(self) -> int:
        """The integer that stands for the zero: 8 in each four bits."""
        return 8 if self.bits == 4 else 8 * 16 + 8

    def one(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        product: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows, self._packed, GROUP, self._scales
        )
        if self.bits == 4:
            return product
        return product[:, : self._outputs] + product[:, self._outputs :]

    def many(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        if len(rows) <= _FEW or not _unpacks(self._dtype):
            return self.one(rows.contiguous())
        if self._outputs <= _HEAD_ROWS:
            return functional.linear(rows, self._unpacked(0, self._outputs))
        result = rows.new_empty(len(rows), self._outputs)
        for first in range(0, self._outputs, _HEAD_ROWS):
            last = min(first + _HEAD_ROWS, self._outputs)
            result[:, first:last] = functional.linear(rows, self._unpacked(first, last))
        return result

    def dense(self) -> torch.Tensor:
        """See `Matrix`."""
        if _unpacks(self._dtype):
            room = torch.empty(self._outputs, self._inputs, dtype=torch.float32)
            return self._unpacked(0, self._outputs, room)
        return self.one(torch.eye(self._inputs, dtype=self._dtype)).T.float()

    def some(self, outputs: torch.Tensor) -> torch.Tensor:
        """See `Matrix`."""
        if not self.gathers:
            return self.dense()[outputs]
        halves = [outputs] if self.bits == 4 else [outputs, self._outputs + outputs]
        # All at once: where a few outputs are asked for, each operation costs more than its work.
        chosen = torch.cat(halves)
        block, inside = chosen // _BLOCK, chosen % _BLOCK
        blocks = self._packed.view(-1, self._inputs, _BLOCK // 2)
        pairs = blocks[block, :, inside % (_BLOCK // 2)]
        upper = (inside // (_BLOCK // 2) * 4).to(torch.uint8)
        values = (pairs >> upper[:, None]) & 15
        if self.bits > 4:
            values = (values[: len(outputs)] << 4) | values[len(outputs) :]
        scale, zero = self._scales[:, halves[-1], 0], self._scales[:, outputs, 1]
        groups = values.view(len(outputs), -1, GROUP).float().sub_(self._middle)
        groups.mul_(scale.T.float()[..., None]).add_(zero.T.float()[..., None])
        return groups.view(len(outputs), self._inputs)

    def _unpacked(self, first: int, last: int, room: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weights of some outputs, in `room` or in the workspace.

        Args:
            first: output, in multiples of 64.
            last: output behind them, likewise.
            room: of shape (last - first, inputs), float32 or the weights' dtype.
        """
        if room is None:
            room = self._workspace.take(last - first, self._inputs, self._dtype)
        values = self._nibbles(first, last)
        if self.bits > 4:
            values = (values << 4) | self._nibbles(self._outputs + first, self._outputs + last)
        room.copy_(values).sub_(self._middle)
        # The finer half is the last one; both have the same zero, in the first.
        scale, zero = (
            self._scales[:, -self._outputs :][:, first:last, 0],
            self._scales[:, first:last, 1],
        )
        groups = room.view(last - first, self._inputs // GROUP, GROUP)
        groups.mul_(scale.T[..., None].to(room.dtype)).add_(zero.T[..., None].to(room.dtype))
        return room

    def _nibbles(self, first: int, last: int) -> torch.Tensor:
        """Return 4-bit integers as they are packed: uint8 of shape (last - first, inputs).

        A block holds 64 outputs: byte i of an input has output i below and output 32 + i above.
        """
        blocks = (last - first) // _BLOCK
        flat = self._packed.view(-1, self._inputs, _BLOCK // 2)
        pairs = flat[first // _BLOCK : last // _BLOCK].transpose(1, 2).contiguous()
        both = torch.stack((pairs & 15, pairs >> 4), dim=1)
        return both.view(blocks * _BLOCK, self._inputs)


class Int8(_Grouped):
    """Weights of 8 bits, with a scale and a zero for each 32 inputs of an output.

    Args:
        weight: of shape (outputs, inputs), outputs in multiples of 64, inputs of 32.
        workspace: to unpack into.

    Raises:
        ValueError: there is no operation for this shape or type here.
    """

    bits = 8


class Int4(_Grouped):
    """Weights of 4 bits, with a scale and a zero for each 32 inputs of an output; see `Int8`."""

    bits = 4


def pack(weight: torch.Tensor, bits: int, workspace: Workspace, name: str) -> Matrix:
    """Return `weight` with as few bits as asked for, or else with the fewest there are.

    Args:
        weight: of shape (outputs, inputs).
        bits: 4 or 8; anything more leaves it as it is.
        workspace: to unpack into.
        name: of the matrix, for the log.
    """
    kinds: tuple[type[Int4 | Int8 | Int8Rows], ...] = (Int4, Int8, Int8Rows)
    for kind in (some for some in kinds if some.bits >= bits):
        try:
            return kind(weight, workspace)
        except ValueError as error:
            log.info("%s is not packed to %d bits: %s", name, kind.bits, error)
    return Dense(weight)


# What this processor and this torch can do --------------------------------------------------------


@functools.cache
def _check_int8(inputs: int, dtype: torch.dtype) -> None:
    if inputs % _WIDTH:
        raise ValueError(f"{inputs} inputs, not a multiple of {_WIDTH}")
    try:
        rows, weight = torch.ones(1, _WIDTH, dtype=dtype), torch.ones(1, _WIDTH, dtype=torch.int8)
        torch.ops.aten._weight_int8pack_mm(rows, weight, torch.ones(1, dtype=dtype))
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        raise ValueError(f"torch has no operation for it ({_first_line(error)})") from error


@functools.cache
def _check_int4(outputs: int, inputs: int, dtype: torch.dtype) -> None:
    if outputs % _BLOCK or inputs % GROUP:
        raise ValueError(f"{outputs} × {inputs}, not multiples of {_BLOCK} and {GROUP}")
    try:
        values = torch.ones(_BLOCK, GROUP, dtype=torch.int32)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
        rows, scales = torch.ones(1, GROUP, dtype=dtype), torch.ones(1, _BLOCK, 2, dtype=dtype)
        torch.ops.aten._weight_int4pack_mm_for_cpu(rows, packed, GROUP, scales)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        raise ValueError(f"torch has no operation for it ({_first_line(error)})") from error


@functools.cache
def _unpacks(dtype: torch.dtype) -> bool:
    """Return whether the 4-bit layout is the one that is known here: it differs by processor."""
    inputs = 2 * GROUP
    weight = (torch.arange(2 * _BLOCK * inputs) * 7 % 31).view(2 * _BLOCK, inputs).to(dtype)
    probe = Int4(weight, Workspace())
    said = probe.one(torch.eye(inputs, dtype=dtype)).T.float()
    read = probe._unpacked(0, len(weight), torch.empty(weight.shape, dtype=torch.float32))
    return torch.allclose(read, said, rtol=0.02, atol=0.1)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
