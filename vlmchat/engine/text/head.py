"""The head over packed weights, with the likeliest tokens told apart.

The operations for packed weights give what they multiplied in the dtype of the rows. Among fifty
thousand logits in bfloat16, whose steps are an eighth from 16 on, the likeliest are often equal,
and which of them is greatest is chance: measured on real text, that costs 8-bit weights two
tokens in a hundred. So the few that lead are multiplied again in float32.
"""

import torch

from vlmchat.engine.text.packing import Workspace, pack

_LEADING = 8  # tokens that are multiplied again
_BLOCK = 64  # tokens among which the greatest is found first
_TOGETHER = 16  # rows whose leading tokens are in memory at once


class Head:
    """The last matrix of a text model.

    Args:
        weight: of shape (vocab, hidden).
        bits: see `pack`.
        workspace: to unpack into.

    Attributes:
        nbytes: of the weights that are read for one token.
    """

    def __init__(self, weight: torch.Tensor, bits: int, workspace: Workspace) -> None:
        self._matrix = pack(weight, bits, workspace, "the head")
        coarse = weight.dtype.itemsize < torch.float32.itemsize
        self._again = self._matrix.gathers and coarse and self._matrix.bits < 8 * weight.itemsize
        self.nbytes = self._matrix.nbytes

    def one(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits behind one token.

        Args:
            hidden: behind the last norm, (1, hidden).

        Returns:
            The logits, (1, vocab): in float32 where the leading ones are, else in the dtype of
            the weights.
        """
        return self._finer(hidden, self._matrix.one(hidden))

    def many(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the same for any number of tokens: (tokens, vocab)."""
        return self._finer(hidden, self._matrix.many(hidden))

    def dense(self) -> torch.Tensor:
        """Return the weights that are multiplied, (vocab, hidden), in float32."""
        return self._matrix.dense()

    def _finer(self, hidden: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if not self._again:
            return logits
        logits = logits.float()
        for first in range(0, len(hidden), _TOGETHER):
            rows, some = hidden[first : first + _TOGETHER].float(), logits[first:][:_TOGETHER]
            leading = _leading(some)
            weights = self._matrix.some(leading.flatten()).view(*leading.shape, -1)
            some.scatter_(1, leading, torch.bmm(weights, rows[..., None])[..., 0])
        return logits


def _leading(logits: torch.Tensor) -> torch.Tensor:
    """Return which tokens have the greatest logits, of (rows, vocab): (rows, few).

    They are in those blocks whose greatest are greatest. Two small choices take a third of the
    time of one among all.
    """
    rows, vocab = logits.shape
    if vocab % _BLOCK or vocab <= _BLOCK * _LEADING:
        return logits.topk(min(_LEADING, vocab), dim=1).indices
    blocks = logits.view(rows, -1, _BLOCK)
    best = blocks.amax(dim=2).topk(_LEADING, dim=1).indices
    inside = blocks.gather(1, best[..., None].expand(-1, -1, _BLOCK)).flatten(1)
    chosen = inside.topk(_LEADING, dim=1).indices
    return best.gather(1, chosen // _BLOCK) * _BLOCK + chosen % _BLOCK
