"""The text model as training runs it: frozen, and with what costs time left out.

It computes what ``LlamaForCausalLM`` does. The beginning that all prompts share is read once; rows
of different lengths lie one behind the other without padding, so that only attention looks at rows;
queries, keys and values come of one matrix, and so do the two gates. No gradient is computed for a
weight: what is learned is what comes in, or the adapter that is laid beside the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.demo.training.adapter import Adapter, Beside, Pair
from vlmchat.demo.training.words import TEXT, Words

Kept: TypeAlias = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, (heads, tokens, head) each."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt with its answers, of n tokens, behind the shared beginning of p tokens.

    Attributes:
        places: (n,), int64, which place in the text each token has.
        seen: (n, p + n), bool, whether a token (row) sees another (column).
    """

    places: torch.Tensor
    seen: torch.Tensor

    def to(self, device: torch.device) -> "Row":
        """Return the row on another device."""
        return Row(self.places.to(device), self.seen.to(device))


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one layer; matrices as (out, in)."""

    norm1: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    norm2: torch.Tensor
    gates: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Heads of the attention and what the norms add."""

    heads: int
    shared: int
    head: int
    eps: float


class FrozenText:
    """The text model of a demo model folder.

    Args:
        words: its vocabulary, which knows the folder.
        beginning: tokens that all prompts begin with.
        device: where it runs.
        dtype: what it computes in.
        compiled: whether what happens to each token alone is compiled. Attention is not: with it
            that takes longer, as rows differ in length.
        adapter: what is laid beside its weights, on the same device.
    """

    def __init__(
        self,
        words: Words,
        beginning: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        compiled: bool = False,
        adapter: Adapter | None = None,
    ) -> None:
        text = words.config["text_config"]
        heads, width = int(text["num_attention_heads"]), int(text["hidden_size"])
        head = int(text.get("head_dim") or width // heads)
        shared = int(text["num_key_value_heads"])
        self._sizes = _Sizes(heads, shared, head, float(text["rms_norm_eps"]))
        self._device, self._dtype = device, dtype
        self.embedding = words.embedding.to(device, dtype)
        self._norm = words.weight(f"{TEXT}norm.weight").to(device, dtype)
        self._layers = [
            self._layer(words, number) for number in range(int(text["num_hidden_layers"]))
        ]
        theta = float(text["rope_parameters"]["rope_theta"])
        self._waves = 1.0 / theta ** (torch.arange(0, head, 2, device=device) / head)
        self._beginning = list(beginning)
        self._adapter = adapter
        self._before, self._after = _before, _after
        with torch.no_grad():
            self._kept = self._read_beginning()
        if compiled:
            self._before = torch.compile(_before, dynamic=True)
            self._after = torch.compile(_after, dynamic=True)

    def _layer(self, words: Words, number: int) -> _Layer:
        place = f"{TEXT}layers.{number}."

        def matrix(*names: str) -> torch.Tensor:
            parts = [words.weight(f"{place}{name}.weight") for name in names]
            return torch.cat(parts).to(self._device, self._dtype)

        return _Layer(
            matrix("input_layernorm"),
            matrix("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            matrix("self_attn.o_proj"),
            matrix("post_attention_layernorm"),
            matrix("mlp.gate_proj", "mlp.up_proj"),
            matrix("mlp.down_proj"),
        )

    def _read_beginning(self) -> Kept:
        """Return the keys and values of the shared beginning."""
        count = len(self._beginning)
        ids = torch.tensor(self._beginning, device=self._device)
        seen = torch.ones(count, count, dtype=torch.bool, device=self._device).tril()
        row = Row(torch.arange(count, device=self._device), seen)
        kept: Kept = []
        self._run(self.embedding[ids], [row], None, kept)
        return kept

    def __call__(self, inputs: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        """Return the last hidden states, normed, (tokens, width), of rows one behind the other.

        Args:
            inputs: (tokens of all rows, width), embeddings and image tokens.
            rows: what lies where.
        """
        # An adapter that learns changes what the beginning is read as, too.
        kept = self._kept if self._adapter is None else self._read_beginning()
        hidden = self._run(inputs.to(self._dtype), rows, kept, None)
        return _normed(hidden, self._norm, self._sizes.eps)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of hidden states, (tokens, vocabulary), float32."""
        return F.linear(hidden, self.embedding).float()

    def _run(
        self, hidden: torch.Tensor, rows: Sequence[Row], earlier: Kept | None, kept: Kept | None
    ) -> torch.Tensor:
        """Return what the layers make of rows.

        Args:
            hidden: (tokens of all rows, width).
            rows: what lies where.
            earlier: keys and values of what all rows have before them.
            kept: takes keys and values of the only row.
        """
        angles = torch.cat([row.places for row in rows])[:, None] * self._waves
        turn = torch.cat([angles, angles], -1)[:, None]
        cosine, sine = turn.cos().to(self._dtype), turn.sin().to(self._dtype)
        lengths = [len(row.places) for row in rows]
        masks = [_mask(row.seen, self._dtype) for row in rows]
        for number, layer in enumerate(self._layers):
            beside = self._adapter.beside(number, self._dtype) if self._adapter else Beside()
            queries, keys, values = self._before(
                hidden, layer.norm1, layer.qkv, beside.qkv, cosine, sine, self._sizes
            )
            seen = []
            parts = (torch.split(part, lengths, 1) for part in (queries, keys, values))
            for mask, query, key, value in zip(masks, *parts, strict=True):
                both = (key, value)
                if kept is not None:
                    kept.append(both)
                if earlier is not None:
                    before = earlier[number]
                    both = (torch.cat([before[0], key], 1), torch.cat([before[1], value], 1))
                seen.append(_attended(query, *both, mask))
            hidden = self._after(
                *(hidden, torch.cat(seen), layer.out, beside.out, layer.norm2),
                *(layer.gates, beside.gates, layer.down, beside.down),
                self._sizes.eps,
            )
        return hidden


def _mask(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to scores: 0 where a token sees another, else minus infinity."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
        ~seen, float("-inf")
    )


def _normed(hidden: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    wide = hidden.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return weight * wide.to(hidden.dtype)


def _turned(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Return queries or keys turned by their places (RoPE, arXiv:2104.09864)."""
    first, second = heads.chunk(2, -1)
    return heads * cosine + torch.cat([-second, first], -1) * sine


def _through(inputs: torch.Tensor, weight: torch.Tensor, pair: Pair | None) -> torch.Tensor:
    """Return what a matrix makes of inputs, with what is laid beside it."""
    made = F.linear(inputs, weight)
    return made if pair is None else made + F.linear(F.linear(inputs, pair[0]), pair[1])


def _before(
    hidden: torch.Tensor,
    norm: torch.Tensor,
    qkv: torch.Tensor,
    qkv_pair: Pair | None,
    cosine: torch.Tensor,
    sine: torch.Tensor,
    sizes: _Sizes,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return queries, keys and values, each (heads, tokens, head)."""
    together = _through(_normed(hidden, norm, sizes.eps), qkv, qkv_pair)
    together = together.view(len(hidden), sizes.heads + 2 * sizes.shared, sizes.head)
    parts = torch.split(together, [sizes.heads, sizes.shared, sizes.shared], 1)
    queries, keys = (_turned(part, cosine, sine) for part in parts[:2])
    return queries.transpose(0, 1), keys.transpose(0, 1), parts[2].transpose(0, 1)


def _attended(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return what the tokens of one row see, (tokens, heads · head).

    Args:
        queries: (heads, tokens, head).
        keys: (shared heads, tokens of beginning and row, head).
        values: the same.
        mask: (tokens, tokens of beginning and row), 0 where one sees another, else minus infinity.
    """
    heads, tokens, head = queries.shape
    shared = len(keys)
    # Queries of heads that share keys lie one behind the other, so that keys are not repeated.
    grouped = (queries * head**-0.5).reshape(shared, -1, head)
    scores = (grouped @ keys.mT).view(shared, heads // shared, tokens, -1)
    weights = (scores + mask).softmax(-1)
    found: torch.Tensor = weights.view(shared, -1, keys.shape[1]) @ values
    return found.view(heads, tokens, head).transpose(0, 1).reshape(tokens, heads * head)


def _after(
    hidden: torch.Tensor,
    seen: torch.Tensor,
    out: torch.Tensor,
    out_pair: Pair | None,
    norm: torch.Tensor,
    gates: torch.Tensor,
    gates_pair: Pair | None,
    down: torch.Tensor,
    down_pair: Pair | None,
    eps: float,
) -> torch.Tensor:
    """Return hidden states with what was seen and the feed-forward part added."""
    hidden = hidden + _through(seen, out, out_pair)
    gate, up = _through(_normed(hidden, norm, eps), gates, gates_pair).chunk(2, -1)
    return hidden + _through(F.silu(gate) * up, down, down_pair)
