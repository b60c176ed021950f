"""Where an answer looked: the attention of its tokens over the pictures' tokens, as grids.

The answer is read once more behind its prompt, and each layer's queries and keys are watched
(`vlmchat.engine.text.watching`). A token of the answer is chosen by the query of the token before
it: that one's attention is what counts. `AGGREGATION` says how heads, layers and tokens are put
together; ``benchmarks/evidence.py`` compares it with others.

A high share of attention is no proof that a place mattered (arXiv:1902.10186): `hiding` tests it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt
from threading import Event
from typing import TYPE_CHECKING

import torch

from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.fitting import check_fits
from vlmchat.engine.prompt import Prompt
from vlmchat.engine.reading import Reader, tokens_at_once
from vlmchat.engine.text.watching import attention
from vlmchat.engine.threads import threads
from vlmchat.errors import ContextOverflowError, UsageError
from vlmchat.media.tiles import TilePlan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from vlmchat.engine.loading import LoadedModel

AGGREGATION = (
    "mean over the heads and over the later half of the layers, less what the last tokens of the "
    "prompt give to the same places, nothing below zero"
)
"""How attention becomes one number a place.

Some places draw attention whatever is asked (attention sinks, arXiv:2309.17453; in pictures
arXiv:2309.16588): the first image token of the demo model gets four to eight times as much as the
others. What the prompt's own text gives to a place is therefore taken off, as arXiv:2502.17422
divides by what a neutral question gives. Early layers are left out because they look everywhere.
These are choices by what is known of other models. Measuring could not make them: on the demo model
no single layer, no range of them, and nothing taken off or divided by puts the peak on what was
asked about more often than the best of so many attempts would by luck. Its image tokens were
trained to be the words of a caption, wherever what they say stands in the picture, so that their
places say nothing.
"""
_MOST_AT_ONCE = 128  # tokens of which attention and logits are in memory together
_BASELINE = 64  # tokens at the end of the prompt whose attention is taken off
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of an answer, or all of it.

    Attributes:
        begin: first character in the answer.
        end: the one behind the last.
        tokens: indices of its tokens.
    """

    begin: int
    end: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """Where some tokens of an answer looked.

    Attributes:
        share: of all their attention, how much went to pictures.
        heat: of each picture, shape (rows, columns), float32: what `AGGREGATION` says, so that all
            pictures together have 1; zeros where nothing is left.
        raw: likewise, before anything is taken off.
    """

    share: float
    heat: tuple[torch.Tensor, ...]
    raw: tuple[torch.Tensor, ...]


class Gaze:
    """Puts the attention of tokens over image tokens together, layer by layer.

    Args:
        places: where the image tokens are.
        layers: which count, from the first of them to the last.
        count: tokens that will be read.
        device: where they are read.
    """

    def __init__(
        self, places: Sequence[int], layers: range, count: int, device: torch.device | str = "cpu"
    ) -> None:
        self._places = torch.tensor(places, device=device)
        self._layers = layers
        self._begin = 0
        # Of each token that is read, over the image tokens.
        self.rows = torch.zeros(count, len(places), device=device, dtype=torch.float32)

    def watch(self, index: int, queries: torch.Tensor, keys: torch.Tensor) -> None:
        """Take a layer's queries and keys; see `vlmchat.engine.text.watching.Watch`."""
        if index not in self._layers:
            return
        looked = attention(queries, keys)[:, :, self._places].mean(0)
        self.rows[self._begin : self._begin + len(queries)] += looked / len(self._layers)
        if index == self._layers[-1]:
            self._begin += len(queries)


def later_half(layers: int) -> range:
    """Return the layers that count."""
    return range(layers // 2, layers)


@dataclass(frozen=True, slots=True)
class Looked:
    """Where each token of an answer looked.

    Attributes:
        prompt: before the answer.
        ids: of the answer's tokens, the one that ends it the last.
        text: the answer.
        rows: shape (tokens, image tokens): each token's attention, by heads' and layers' mean.
        baseline: what the prompt's own text gives to each image token, shape (image tokens,).
        spans: first character of each token in the text, and the one behind its last.
    """

    prompt: Prompt
    ids: tuple[int, ...]
    text: str
    rows: torch.Tensor
    baseline: torch.Tensor
    spans: tuple[tuple[int, int], ...]

    @property
    def whole(self) -> Spoken:
        """All of the answer; the token that ends it counts for its likelihood alone."""
        return Spoken(0, len(self.text), tuple(range(len(self.ids))))

    def words(self) -> list[Spoken]:
        """Return the answer's words, as white space parts them."""
        spans = (found.span() for found in _WORD.finditer(self.text))
        return [Spoken(*span, tokens) for span in spans if (tokens := self._tokens(*span))]

    def _tokens(self, begin: int, end: int) -> tuple[int, ...]:
        spans = enumerate(self.spans)
        return tuple(index for index, (low, high) in spans if low < end and high > begin)

    def spoken(self, begin: int, end: int) -> Spoken:
        """Return the tokens that have a part in some characters.

        Raises:
            UsageError: there are none.
        """
        tokens = self._tokens(begin, end)
        if not 0 <= begin < end <= len(self.text) or not self.text[begin:end].strip() or not tokens:
            raise UsageError(
                f"There is no word from character {begin} to {end} of the answer, which has "
                f"{len(self.text)}."
            )
        return Spoken(begin, end, tokens)

    def seen(self, spoken: Spoken) -> Seen:
        """Return where these tokens looked."""
        last = len(self.ids) - 1
        chosen = [index for index in spoken.tokens if index != last] or [last]
        raw = self.rows[chosen].mean(0)
        heat = (raw - self.baseline).clamp_min(0)
        plans = [image.plan for image in self.prompt.images]
        return Seen(float(raw.sum()), _grids(heat, plans), _grids(raw, plans))


def _grids(values: torch.Tensor, plans: Sequence[TilePlan]) -> tuple[torch.Tensor, ...]:
    total = values.sum()
    shares = values / total if total > 0 else torch.zeros_like(values)
    parts = torch.split(shares, [plan.image_tokens for plan in plans])
    return tuple(grid_of(part, plan) for part, plan in zip(parts, plans, strict=True))


def grid_of(values: torch.Tensor, plan: TilePlan) -> torch.Tensor:
    """Return a picture's image tokens as a grid over the picture, with the same sum.

    The tokens of a tile lie row by row in it (the connector's pixel shuffle keeps places). Each
    tile, and the global view, was stretched to a square: fractions of a tile are fractions of its
    part of the picture. What the global view got is spread over the cells below each of its own.

    Args:
        values: one a token, shape (image tokens,): the tiles row by row, the global view last.
        plan: how the picture was cut.

    Returns:
        Of shape (rows, columns): as fine as the tiles.
    """
    side = isqrt(plan.tokens_per_tile)
    tiles = values.view(plan.tiles, side, side)
    if not plan.rows:
        return tiles[0]
    rows, cols = plan.rows, plan.cols
    grid = tiles[:-1].view(rows, cols, side, side).transpose(1, 2)
    spread = tiles[-1].repeat_interleave(rows, 0).repeat_interleave(cols, 1) / (rows * cols)
    return grid.reshape(rows * side, cols * side) + spread


@torch.inference_mode()
def look(
    loaded: "LoadedModel",
    prompt: Prompt,
    ids: Sequence[int],
    text: str,
    cancel: Event,
    caches: Caches,
    layers: range | None = None,
) -> Looked:
    """Read an answer behind its prompt, and return where its tokens look.

    Args:
        loaded: the model and its tokenizer.
        prompt: as `PromptBuilder.build` made it.
        ids: of the answer, as `PromptBuilder.answers` gives them.
        text: the answer.
        cancel: set from another thread to stop.
        caches: what is known from before, and what will be known.
        layers: which count; by default the later half.

    Raises:
        CancelledError: `cancel` was set.
        UsageError: there is no picture.
        ContextOverflowError: prompt and answer do not fit.
        MediaError: a picture cannot be decoded.
    """

    def check() -> None:
        if cancel.is_set():
            raise CancelledError
        threads.now()

    if not prompt.images:
        raise UsageError("There is no picture before this answer: it looked at nothing.")
    _check_room(prompt, len(ids), loaded.context)
    pictures = caches.placed(loaded, prompt)
    # From here on attention is watched; before the prompt's last token nobody chooses anything.
    begin = max(prompt.places[-1] + 1, len(prompt.ids) - 1 - _BASELINE)
    tape = caches.prefixes.lease(loaded.text, prompt.ids, pictures)
    try:
        Reader(loaded, prompt, tape, pictures, caches, check, lambda _: None).whole()
        cache = tape.cache.copy(begin)
    finally:
        caches.prefixes.give_back(tape)
    read = [*prompt.ids[begin:], *ids[:-1]]
    every = loaded.model.config.get_text_config().num_hidden_layers
    gaze = Gaze(prompt.places, layers or later_half(every), len(read), loaded.model.device)
    at_once = min(tokens_at_once(loaded), _MOST_AT_ONCE)
    for first in range(0, len(read), at_once):
        check()
        loaded.text.watched(loaded.text.embed(read[first : first + at_once]), cache, gaze.watch)
    before = len(prompt.ids) - 1 - begin
    baseline = gaze.rows[:before].mean(0) if before else torch.zeros_like(gaze.rows[0])
    spans = tuple(token_spans(partial(_decoded, loaded.tokenizer), ids[:-1], text))
    return Looked(prompt, tuple(ids), text, gaze.rows[before:].cpu(), baseline.cpu(), spans)


def _check_room(prompt: Prompt, count: int, context: int) -> None:
    """Refuse an answer that does not fit behind its prompt.

    Raises:
        ContextOverflowError: says how much does.
    """
    check_fits(prompt, context)
    size = len(prompt.ids)
    if size + count - 1 > context:  # the token that ends it is never read
        raise ContextOverflowError(
            f"The conversation has {size} tokens and the answer {count}, and the model holds "
            f"{context}: ask about an earlier or a shorter answer."
        )


def _decoded(tokenizer: "PreTrainedTokenizerFast", ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def token_spans(
    decode: Callable[[list[int]], str], ids: Sequence[int], text: str
) -> list[tuple[int, int]]:
    """Return where in an answer each token stands.

    Args:
        decode: makes text of tokens.
        ids: of the answer, without the one that ends it.
        text: the answer; the tokens may have a space more before it.

    Returns:
        The first character of each, and the one behind its last; a character that several tokens
        make together is part of each.
    """
    lead = max(decode(list(ids)).find(text), 0)
    found: list[tuple[int, int]] = []
    begin = -lead
    for count in range(1, len(ids) + 1):
        shown = decode(list(ids[:count]))
        # What is not whole yet decodes to U+FFFD.
        whole = len(shown.rstrip("\N{REPLACEMENT CHARACTER}"))
        found.append((max(begin, 0), max(whole + (whole < len(shown)) - lead, 0)))
        begin = whole - lead
    return found
