"""From messages to token ids and tiles.

The ids equal what the library's own processor makes of the same messages and tiles, with one
difference on purpose: special tokens that a person *types* (``<image>``, ``<end_of_utterance>``)
stay plain text, so that text from outside can neither end a turn nor stand for a picture.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from vlmchat.chat.messages import ImagePart, Message, TextPart
from vlmchat.engine.cancelled import Check, unstopped
from vlmchat.errors import UsageError
from vlmchat.media.prompt_text import IMAGE_TOKEN, image_block
from vlmchat.media.rules import Limits
from vlmchat.media.special_tokens import SpecialTokens, unused_char
from vlmchat.media.tiles import ProcessorSpec, TilePlan, plan_tiles


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """A picture of the prompt.

    Attributes:
        source: its file's bytes, or what returns them: of a picture that is known nobody asks.
        name: how errors call it.
        plan: how it will be cut.
        sha256: of its file's bytes.
    """

    source: bytes | Callable[[], bytes]
    name: str
    plan: TilePlan
    sha256: str = ""

    def __post_init__(self) -> None:
        """Reckon the digest where nobody has."""
        if not self.sha256:
            object.__setattr__(self, "sha256", hashlib.sha256(self.data).hexdigest())

    @property
    def data(self) -> bytes:
        """Its file's bytes."""
        return self.source if isinstance(self.source, bytes) else self.source()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenized prompt.

    Attributes:
        ids: token ids, image tokens expanded.
        images: the pictures in the order of their image tokens.
        places: where in `ids` the image tokens are, those of all pictures in order.
        virtual: how many of the ids, at the beginning, are of a learned prompt and of no word.
    """

    ids: list[int]
    images: tuple[PlannedImage, ...]
    places: tuple[int, ...] = ()
    virtual: int = 0

    @property
    def image_tokens(self) -> int:
        """How many of the ids stand for pictures."""
        return sum(image.plan.image_tokens for image in self.images)

    @property
    def starts(self) -> list[int]:
        """Where in `ids` each picture's first image token is."""
        before = list(accumulate((image.plan.image_tokens for image in self.images), initial=0))
        return [self.places[count] for count in before[:-1]]


class PromptBuilder:
    """Builds prompts for one model.

    Args:
        tokenizer: the model's own tokenizer with its chat template.
        spec: what of the image processor's settings decides the tiles.
        limits: which pictures are refused.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, spec: ProcessorSpec, limits: Limits
    ) -> None:
        self.spec = spec
        self._virtual_ids: tuple[int, ...] = ()
        self._limits = limits
        self._tokenizer = tokenizer
        self._image_token = IMAGE_TOKEN
        self._specials = SpecialTokens(
            {
                token.content: index
                for index, token in tokenizer.added_tokens_decoder.items()
                if token.special
            }
        )
        # A copy of its own, because the switch is state of the tokenizer.
        self._plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._plain.encode_special_tokens = True

    def behind(self, virtual_ids: tuple[int, ...]) -> "PromptBuilder":
        """Return a builder whose prompts begin with these ids, those of a learned prompt."""
        other = copy(self)
        other._virtual_ids = virtual_ids
        return other

    def build(self, messages: Sequence[Message], *, going_on: bool = False) -> Prompt:
        """Return the prompt for `messages` with the assistant's turn opened.

        Pictures are neither decoded nor read.

        Args:
            messages: the conversation, oldest first.
            going_on: the last message is an assistant's that is to be continued where it breaks
                off, rather than answered.

        Raises:
            UsageError: no messages, the template refuses them, or there is nothing to go on with.
            MediaError: a picture cannot be read or is too large.
        """
        images = tuple(self._planned(messages))
        mark = unused_char(messages)
        if going_on:
            rendered = self._render((*messages[:-1], _marked(messages[-1], mark)), mark, end=False)
            rendered = rendered[: rendered.rindex(mark * 2)]
        else:
            rendered = self._render(messages, mark)
        pieces = rendered.split(self._image_token)
        if len(pieces) != len(images) + 1:
            raise UsageError("This model's chat template takes no pictures: send text only.")
        blocks = [image_block(image.plan, self._image_token) for image in images]
        text = pieces[0] + "".join(b + p for b, p in zip(blocks, pieces[1:], strict=True))
        ids = [*self._virtual_ids, *self._encode(text, mark)]
        image_id = self._specials.ids.get(self._image_token)
        places = tuple(at for at, index in enumerate(ids) if index == image_id) if images else ()
        return Prompt(ids, images, places, len(self._virtual_ids))

    def answers(
        self,
        messages: Sequence[Message],
        texts: Sequence[str],
        ends: Collection[int],
        check: Check = unstopped,
    ) -> list[list[int]]:
        """Return what each text is as the answer to `messages`, behind the prompt of `build`.

        Args:
            messages: the conversation, oldest first.
            texts: answers to it.
            ends: tokens that end an answer.
            check: called between texts; it raises to stop.

        Returns:
            The token ids of each, up to the one that ends it, which is the last.

        Raises:
            UsageError: the template puts no answers behind what it opens.
        """
        every = [Message("assistant", (TextPart(text),)) for text in texts]
        mark = unused_char([*messages, *every])
        opened = self._render(messages, mark)
        closed = self._render(
            (*messages, Message("assistant", (TextPart(mark * 2),))), mark, end=False
        )
        before, _, after = closed.rpartition(mark * 2)
        if not before.startswith(opened):
            raise UsageError("This model's chat template does not say where an answer begins.")
        found: list[list[int]] = []
        for text in texts:
            check()
            said = before.removeprefix(opened) + self._specials.masked(text, mark)
            ids = self._encode(said + after, mark)
            last = next((at for at, index in enumerate(ids) if index in ends), None)
            end = ids[: last + 1] if last is not None else [*self._encode(said, mark), min(ends)]
            found.append(end)
        return found

    def _planned(self, messages: Sequence[Message]) -> Iterable[PlannedImage]:
        for message in messages:
            for part in message.parts:
                if isinstance(part, ImagePart):
                    media = part.media
                    plan = plan_tiles(media.width, media.height, self.spec, part.detail)
                    yield PlannedImage(media.read, media.name, plan, media.sha256)

    def _render(self, messages: Sequence[Message], mark: str, *, end: bool = True) -> str:
        try:
            rendered = self._tokenizer.apply_chat_template(
                self._specials.rows(messages, mark), tokenize=False, add_generation_prompt=end
            )
        except Exception as error:  # templates raise what they like
            raise UsageError(
                f"This model's chat template refuses the conversation: {error}."
            ) from error
        assert isinstance(rendered, str)
        return rendered

    def _encode(self, text: str, mark: str) -> list[int]:
        ids: list[int] = []
        for _, piece in self._specials.pieces(text):
            special = self._specials.ids.get(piece)
            if special is not None:
                ids.append(special)
            else:
                plain = self._specials.plain(piece, mark)
                ids += self._plain.encode(plain, add_special_tokens=False).ids
        return ids


def _marked(message: Message, mark: str) -> Message:
    """Return `message` with its end marked, to find it in what the template makes of it.

    Raises:
        UsageError: it does not end in text.
    """
    last = message.parts[-1] if message.parts else None
    if message.role != "assistant" or not isinstance(last, TextPart) or not last.text:
        raise UsageError("Only an assistant message that ends in text can be continued.")
    return Message(message.role, (*message.parts[:-1], TextPart(last.text + mark * 2)))
