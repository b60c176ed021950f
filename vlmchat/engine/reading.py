"""Reading a prompt: what is known of it is taken over, the rest is read in chunks.

Between two chunks others may have their turn: reading is a generator that pauses there.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.features import PictureKey
from vlmchat.engine.caching.prefixes import PlacedPicture, Tape
from vlmchat.engine.events import Reading
from vlmchat.engine.prompt import PlannedImage, Prompt
from vlmchat.engine.vision import TILES_AT_ONCE, encode_tiles
from vlmchat.errors import MediaError

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

_MOST_AT_ONCE, _LEAST_AT_ONCE = 512, 32
# So many parameters' worth of 512 tokens in bfloat16 are multiplied in about 0.15 s on two cores.
_QUICK_PARAMETERS = 140e6


Neighbour: TypeAlias = Callable[[int], tuple[PictureKey, PlannedImage] | None]
"""Returns a picture of one tile, of so many pixels, from the prompt of somebody who waits."""


def nobody(_: int) -> None:
    """Return that nobody waits; a `Neighbour`."""


@dataclass(slots=True)
class Looked:
    """What was done for the pictures of a prompt."""

    tiles: int = 0
    seconds: float = 0.0


class Reader:
    """Reads one prompt.

    Args:
        loaded: the model.
        prompt: what is read.
        tape: holds a beginning of the prompt; the rest is added.
        pictures: those of the prompt, in order.
        caches: where pictures' features are kept.
        check: called between pieces of the work; it raises to stop.
        report: told how far it is.
        neighbour: whose picture is looked at beside the last of these, where there is room.
    """

    def __init__(
        self,
        loaded: "LoadedModel",
        prompt: Prompt,
        tape: Tape,
        pictures: Sequence[PlacedPicture],
        caches: Caches,
        check: Callable[[], None],
        report: Callable[[Reading], None],
        neighbour: Neighbour = nobody,
    ) -> None:
        self._loaded = loaded
        self._prompt = prompt
        self._tape = tape
        self._pictures = pictures
        self._caches = caches
        self._check = check
        self._report = report
        self._neighbour = neighbour
        self._began = time.perf_counter()
        self._cached = tape.sure
        self._tiles_total = 0
        self.looked = Looked()

    def read(self) -> Generator[None, None, torch.Tensor]:
        """Read all that the tape does not hold; return the logits behind the last token.

        Yields:
            Nothing, between two pieces of the work.

        Raises:
            MediaError: a picture cannot be decoded.
        """
        if self._tape.end is not None:
            return self._tape.end[1]
        features = yield from self._features()
        self.looked.seconds = now(self._loaded.model) - self._began
        ids, at_once = self._prompt.ids, tokens_at_once(self._loaded)
        logits = torch.empty(0)
        while self._tape.sure < len(ids):
            self._check()
            self._tell()
            begin = self._tape.sure
            end = min(begin + at_once, len(ids))
            embedded = self._embedded(begin, end, features)
            logits = self._tape.prefill(embedded, self._check)
            if end < len(ids):
                yield
        self._tape.end = len(ids), logits.clone()
        return self._tape.end[1]

    def whole(self) -> torch.Tensor:
        """Do what `read` does without a pause.

        Raises:
            MediaError: a picture cannot be decoded.
        """
        reading = self.read()
        while True:
            try:
                next(reading)
            except StopIteration as end:
                logits: torch.Tensor = end.value
                return logits

    def _tell(self) -> None:
        self._report(
            Reading(
                total=len(self._prompt.ids),
                cached=self._cached,
                processed=self._tape.sure,
                tiles=self.looked.tiles,
                tiles_total=self._tiles_total,
                milliseconds=(time.perf_counter() - self._began) * 1000,
            )
        )

    def _embedded(self, begin: int, end: int, features: list[torch.Tensor | None]) -> torch.Tensor:
        """Return what the text model reads, pictures in their places: (end - begin, hidden)."""
        embedded = self._loaded.text.embed(self._prompt.ids[begin:end])
        places = torch.tensor(self._prompt.places)
        first = 0
        for image, known in zip(self._prompt.images, features, strict=True):
            mine = places[first : first + image.plan.image_tokens]
            first += image.plan.image_tokens
            inside = (mine >= begin) & (mine < end)
            if known is not None and inside.any():
                where = (mine[inside] - begin).to(embedded.device)
                embedded[where] = known[inside].to(embedded)
        return embedded

    # Pictures ---------------------------------------------------------------------------------

    def _features(self) -> Generator[None, None, list[torch.Tensor | None]]:
        """Return each picture's features, (tokens, hidden); ``None`` where the tape has it all."""
        found: list[torch.Tensor | None] = [None] * len(self._pictures)
        missing: list[int] = []
        last = 0
        for index, (picture, image) in enumerate(
            zip(self._pictures, self._prompt.images, strict=True)
        ):
            last += image.plan.image_tokens
            if self._prompt.places[last - 1] < self._cached:
                continue
            found[index] = self._caches.features.get(picture.key)
            # The same picture twice in a question is looked at once.
            if found[index] is None and not any(
                self._pictures[other].key == picture.key for other in missing
            ):
                missing.append(index)
        looked_at = yield from self._look_at(missing)
        for index, picture in enumerate(self._pictures):
            if found[index] is None:
                found[index] = looked_at.get(picture.key)
        return found

    def _look_at(
        self, missing: Sequence[int]
    ) -> Generator[None, None, dict[PictureKey, torch.Tensor]]:
        """Encode pictures, each kept as soon as it is done; return their features by key."""
        model, normalise = self._loaded.model, self._loaded.tile_maker.normalised
        images, plans = self._prompt.images, {}
        for index in missing:
            plans[self._pictures[index].key] = images[index].plan
        self._tiles_total = sum(plan.tiles for plan in plans.values())
        made: dict[PictureKey, torch.Tensor] = {}
        parts: dict[PictureKey, list[torch.Tensor]] = {key: [] for key in plans}
        for keys, tiles in self._chunks(missing):
            self._tell()
            out = encode_tiles(model, [tiles], self._check, normalise).pooler_output
            for key, part in zip(keys, out.chunk(len(keys)), strict=True):
                if key not in plans:  # a neighbour's, who will find it
                    self._caches.features.put(key, part)
                    continue
                self.looked.tiles += 1
                parts[key].append(part)
                if len(parts[key]) == plans[key].tiles:
                    made[key] = torch.cat(parts.pop(key))
                    self._caches.features.put(key, made[key])
            yield
        return made

    def _chunks(self, missing: Sequence[int]) -> Iterator[tuple[list[PictureKey], torch.Tensor]]:
        """Yield tiles as many as are encoded at once, and whose each of them is.

        A picture is cut when its turn comes: the tiles of many are more than memory wants to hold.
        """
        keys: list[PictureKey] = []
        waiting: list[torch.Tensor] = []
        for index in missing:
            self._check()
            self._tell()
            for tile in self._loaded.tile_maker.raw(self._prompt.images[index]):
                keys.append(self._pictures[index].key)
                waiting.append(tile)
                if len(waiting) == TILES_AT_ONCE:
                    yield keys, torch.stack(waiting)
                    keys, waiting = [], []
        if not waiting:
            return
        while len(waiting) < TILES_AT_ONCE and self._caches.features.keeps:
            found = self._neighbour(waiting[0].shape[-1])
            if found is None or found[0] in keys:
                break
            try:
                (tile,) = self._loaded.tile_maker.raw(found[1])
            except MediaError:  # which will be told to whom it belongs
                break
            keys.append(found[0])
            waiting.append(tile)
        yield keys, torch.stack(waiting)


def tokens_at_once(loaded: "LoadedModel") -> int:
    """Return how many tokens are read between two looks at whether to stop.

    The same number each time for a model and a device: what a chunk is decides the last bits of
    what comes out.
    """
    if loaded.hardware.device == "cuda":
        return _MOST_AT_ONCE
    config = loaded.model.config.get_text_config()
    width = config.hidden_size
    layer = 2 * width * (width + config.num_key_value_heads * width // config.num_attention_heads)
    weights = config.num_hidden_layers * (layer + 3 * width * config.intermediate_size)
    slower = max(1.0, weights / _QUICK_PARAMETERS) * (loaded.hardware.value_bytes / 2)
    tokens = _MOST_AT_ONCE
    while tokens > _LEAST_AT_ONCE and tokens * slower > _MOST_AT_ONCE:
        tokens //= 2
    return tokens


def now(model: Any) -> float:  # noqa: ANN401 - two classes without a typed base
    """Return the clock's time once all that the GPU was given is done; it works behind our back."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()
