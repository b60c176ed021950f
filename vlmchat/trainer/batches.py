"""From rows to the tensors of a batch, for each method.

One collator makes what TRL's three collators make of raw pictures: right-padded ids, a loss on
answers only, both answers of a preference one after the other. Instead of pixels a batch carries
what the tower made of them (``mm_encoder_outputs``), unless the tower itself is trained.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlmchat.finetune.settings import Method
from vlmchat.trainer.rows import Row, Tokens

Batch: TypeAlias = dict[str, Any]
# What a batch carries of the pictures of its sequences, in the order of their image tokens.
Sight: TypeAlias = Callable[[Sequence[Tokens], Sequence[Row]], Batch]
IGNORED = -100  # of labels: no loss here


@dataclass(frozen=True)
class Collator:
    """Makes batches of the rows whose numbers a dataset holds under ``row``.

    Attributes:
        rows: all rows of one side.
        sight: gives the pictures.
        pad_id: fills up shorter sequences; it is never attended to and never trained on.
        method: that learns from the batch.
    """

    rows: Sequence[Row]
    sight: Sight
    pad_id: int
    method: Method

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> Batch:
        """Return a batch: int64 tensors of shape (sequences, longest), and the pictures."""
        numbers = [int(item["row"]) for item in items]
        rows = [self.rows[number] for number in numbers]
        if self.method == "kto":
            return self._kto(numbers, rows)
        if self.method == "sft":
            sequences = [row.branches[0] for row in rows]
            batch = self._padded(sequences)
            ids, trained = batch["input_ids"], batch.pop("completion_mask")
            batch["labels"] = ids.masked_fill(trained == 0, IGNORED)
            return batch | self.sight(sequences, rows)
        # TRL's layout: all chosen answers, then all rejected ones.
        sequences = [row.branches[side] for side in (0, 1) for row in rows]
        return self._padded(sequences) | self.sight(sequences, rows * 2)

    def _kto(self, numbers: Sequence[int], rows: Sequence[Row]) -> Batch:
        """Return a batch with, for the KL term, each prompt with the answer of another row.

        The KTO paper (arXiv:2402.01306, section 4.1) takes another answer of the same batch; here
        it is that of the row before, so that batches of one row work, too.
        """
        sequences = [row.branches[0] for row in rows]
        strange = [
            _crossed(row.branches[0], self.rows[number - 1].branches[0])
            for number, row in zip(numbers, rows, strict=True)
        ]
        batch = self._padded(sequences)
        for name, value in self._padded(strange).items():
            batch[f"KL_{name}"] = value
        batch["label"] = torch.tensor([bool(row.label) for row in rows])
        return batch | self.sight(sequences, rows)

    def _padded(self, sequences: Sequence[Tokens]) -> Batch:
        length = max(len(one.ids) for one in sequences)
        ids = torch.full((len(sequences), length), self.pad_id)
        attended, trained = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, one in enumerate(sequences):
            ids[place, : len(one.ids)] = torch.tensor(one.ids)
            attended[place, : len(one.ids)] = 1
            trained[place, : len(one.ids)] = torch.tensor(one.trained, dtype=torch.int64)
        return {"input_ids": ids, "attention_mask": attended, "completion_mask": trained}


def _crossed(prompt: Tokens, answer: Tokens) -> Tokens:
    """Return the prompt of one sequence with the answer of another."""
    before, after = prompt.answer_start, answer.answer_start
    return Tokens(
        prompt.ids[:before] + answer.ids[after:],
        prompt.trained[:before] + answer.trained[after:],
        prompt.pictures,
        prompt.image_tokens,
        prompt.image_id,
    )


def features_sight(read: Callable[[str], torch.Tensor]) -> Sight:
    """Return what gives batches the features of their pictures, as `read` finds them by name."""

    def sight(sequences: Sequence[Tokens], _: Sequence[Row]) -> Batch:
        found = [read(name) for one in sequences for name in one.pictures]
        if not found:
            return {}
        return {
            "mm_encoder_outputs": {
                "image": BaseModelOutputWithPooling(pooler_output=torch.cat(found))
            }
        }

    return sight


def pixels_sight(tiles: Callable[[Row], Mapping[str, torch.Tensor]]) -> Sight:
    """Return what gives batches their pictures' pixels, as `tiles` cuts them for a row by name.

    The model takes tiles of shape (1, tiles, 3, side, side), in the order of the image tokens.
    """

    def sight(sequences: Sequence[Tokens], rows: Sequence[Row]) -> Batch:
        found: list[torch.Tensor] = []
        for one, row in zip(sequences, rows, strict=True):
            if one.pictures:
                cut = tiles(row)
                found += [cut[name] for name in one.pictures]
        return {"pixel_values": torch.cat(found)[None]} if found else {}

    return sight
