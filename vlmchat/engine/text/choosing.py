"""Which way the text model is run, and the change from one to the other.

On a processor a plain Llama runs in our own ways: the native step where it is compiled, and until
then, or without a compiler, plain torch. Everything else is left to the library, whose step is
captured on a GPU.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeVar

import torch

from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.engine.native import building
from vlmchat.engine.native.text import NativeText, UnsupportedModelError
from vlmchat.engine.text.graphed import GraphedText
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.library import LibraryCache, LibraryText
from vlmchat.engine.text.model import TextModel
from vlmchat.engine.text.portable import PortableText
from vlmchat.engine.text.tree import TokenTree
from vlmchat.engine.text.watching import Watch
from vlmchat.engine.text.weights import TextWeights, is_plain_llama

log = logging.getLogger(__name__)

_BITS = {"none": 16, "8bit": 8, "4bit": 4}
_OFF = "The native decode step is turned off."

T = TypeVar("T", PortableText, NativeText)
Source = Callable[[], TextWeights]
Embed = Callable[[Sequence[int]], torch.Tensor]


class _Ways:
    """The way of one set of weights, and the one that is to take its place.

    Args:
        source: gives the weights, anew each time they are packed.
        bits: 16 for the weights as they are, 8 or 4.
        native: whether the native step may be used.

    Attributes:
        now: what computes.
        reason: why it is not the native step, as a sentence; empty if it is.
    """

    def __init__(self, source: Source, bits: int, *, native: bool) -> None:
        self._source, self._bits = source, bits
        self._next: NativeText | None = None
        self.reason = "" if native else _OFF
        self.now: PortableText | NativeText
        found = building.library() if native else building.Found(reason=_OFF)
        if found.library is not None and (compiled := self._compiled(found)):
            self.now = compiled
            return
        self.now = _packed(source(), lambda weights: PortableText(weights, bits))
        if native and found.library is None:
            self.reason = "The native decode step is being compiled."
            _when_compiled(self._prepare)

    def change(self) -> None:
        """Go over to what has been prepared; between answers, and by the thread that answers."""
        following = self._next
        if following is not None:
            log.info("%s instead of %s", following.way, self.now.way)
            self.now, self.reason, self._next = following, "", None
        self.follow()

    def follow(self) -> None:
        """Compute with as many threads as torch; the number may change between any two tokens."""
        if isinstance(self.now, NativeText):
            self.now.threads = torch.get_num_threads()

    def _prepare(self, found: building.Found) -> None:
        if found.library is None:
            self.reason = found.reason
            return
        try:
            self._next = self._compiled(found)
        except Exception as error:  # in a thread of its own, while the portable way answers
            log.exception("the native step cannot be used")
            self.reason = f"The native decode step cannot be used ({error})."

    def _compiled(self, found: building.Found) -> NativeText | None:
        library, bits, threads = found.library, self._bits, torch.get_num_threads()
        assert library is not None
        try:
            return _packed(
                self._source(), lambda weights: NativeText(weights, library, bits, threads)
            )
        except UnsupportedModelError as error:
            log.info("%s", error)
            self.reason = str(error)
            return None


class OwnText:
    """A `TextModel` that goes over to the native step once that is compiled.

    The cache is the same for all of its ways, so that it may change between any two answers.

    Args:
        source: gives the weights, from another thread too.
        embed: gives the embeddings of tokens.
        quantization: ``none``, ``8bit`` or ``4bit``.
        native: whether the native step may be used.
    """

    def __init__(self, source: Source, embed: Embed, quantization: str, *, native: bool) -> None:
        self._embed = embed
        self._ways = _Ways(source, _BITS[quantization], native=native)

    @property
    def way(self) -> str:
        """See `TextModel`."""
        return self._ways.now.way

    @property
    def reason(self) -> str:
        """Why it is not the native step that runs, as a sentence; empty if it is."""
        return self._ways.reason

    @property
    def nbytes(self) -> int:
        """How many bytes of weights a step reads."""
        return self._ways.now.nbytes

    def embedding(self, embed: Embed) -> "OwnText":
        """Return the same weights behind other embeddings; nothing is packed again."""
        other = copy(self)
        other._embed = embed
        return other

    def new_cache(self) -> KVCache:
        """Return an empty cache."""
        return self._ways.now.new_cache()

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens; see `TextModel`."""
        return self._embed(ids)

    def prefill(
        self, embeddings: torch.Tensor, cache: KVCache, check: Check = unstopped
    ) -> torch.Tensor:
        """Read tokens and return the logits behind the last; see `TextModel`."""
        self._ways.change()
        return self._ways.now.prefill(embeddings, cache, check)

    def score(self, embeddings: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Read tokens and return the logits behind each; see `TextModel`."""
        self._ways.change()
        return self._ways.now.score(embeddings, cache)

    def watched(self, embeddings: torch.Tensor, cache: KVCache, watch: Watch) -> torch.Tensor:
        """Read tokens as `score` does, and tell of each layer; see `TextModel`."""
        self._ways.change()
        return self._ways.now.watched(embeddings, cache, watch)

    def tree(
        self,
        tree: TokenTree,
        embeddings: torch.Tensor,
        cache: KVCache,
        check: Check = unstopped,
    ) -> torch.Tensor:
        """Return the logits behind each token of a tree; see `ReadsTrees`."""
        self._ways.change()
        return self._ways.now.tree(tree, embeddings, cache, check)

    def step(self, token: int, cache: KVCache) -> torch.Tensor:
        """Read one token and return the logits behind it; see `TextModel`."""
        self._ways.follow()
        return self._ways.now.step(token, cache)

    @property
    def together(self) -> int:
        """See `TextModel`."""
        return self._ways.now.together

    def steps(self, tokens: Sequence[int], caches: Sequence[KVCache]) -> torch.Tensor:
        """Read one token of each of several sequences; see `TextModel`."""
        self._ways.follow()
        return self._ways.now.steps(tokens, caches)


def modules_text(model: Any) -> TextModel[Any]:  # noqa: ANN401 - two classes without a typed base
    """Return the text model of a loaded model, run by its own modules.

    Args:
        model: an Idefics3 or SmolVLM model for conditional generation.
    """
    if model.device.type == "cuda" and is_plain_llama(model.config):
        graphed: TextModel[KVCache] = GraphedText(model)
        return graphed
    text: TextModel[LibraryCache] = LibraryText(model)
    return text


def describe(text: TextModel[Any]) -> str:
    """Return which way a text model is run, and why it is not a faster one, for a person."""
    reason = "It is run by transformers."
    if isinstance(text, OwnText | GraphedText):
        reason = text.reason
    return f"{text.way}. {reason}".strip()


def _packed(weights: TextWeights, pack: Callable[[TextWeights], T]) -> T:
    """Return what `pack` makes of weights, of which only the embeddings are kept."""
    result = pack(weights)
    weights.head = weights.head.new_empty(0)
    return result


# One compiler for all who wait --------------------------------------------------------------------

_lock = threading.Lock()
_waiting: list[Callable[[building.Found], None]] = []


def _when_compiled(tell: Callable[[building.Found], None]) -> None:
    """Have the native step compiled, once, and `tell` of it from another thread."""
    with _lock:
        _waiting.append(tell)
        if len(_waiting) > 1:
            return
    building.compile_in_background(_tell_all)


def _tell_all(found: building.Found) -> None:
    with _lock:
        told = list(_waiting)
        _waiting.clear()
    for tell in told:
        tell(found)
