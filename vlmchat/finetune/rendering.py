"""From messages to token ids and to what of them is trained on, without the model's library.

The ids equal those of the engine's prompt (`vlmchat.engine.prompt`): the model folder's own
template, run by jinja2 in its sandbox as transformers runs it; the folder's ``tokenizer.json``;
pictures as the tile plan cuts them; and special tokens that a person typed stay plain text.

Trained on is what the model itself has to write: from where the assistant's turn is opened, as for
an answer, up to the token that ends it. Never a picture, the prompt, or what the template puts
after the end.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.chat.messages import ImagePart, Message, Part, VideoPart, numbered
from vlmchat.errors import ModelError, UsageError
from vlmchat.media.prompt_text import IMAGE_TOKEN, image_block
from vlmchat.media.rules import rules
from vlmchat.media.sending import frame_parts
from vlmchat.media.special_tokens import SpecialTokens, unused_char
from vlmchat.media.tiles import ProcessorSpec, TilePlan, plan_tiles
from vlmchat.models.local import read_json
from vlmchat.models.processor import processor_spec
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from jinja2 import Template
    from tokenizers import Tokenizer

_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of one sequence.

    Attributes:
        total: all.
        image: those that stand for pictures.
        trained: those that the loss is taken on.
    """

    total: int
    image: int
    trained: int

    def __add__(self, other: "TokenCount") -> "TokenCount":
        """Return the sums."""
        return TokenCount(
            self.total + other.total, self.image + other.image, self.trained + other.trained
        )


@dataclass(frozen=True, slots=True)
class Rendered:
    """A tokenized sequence.

    Attributes:
        ids: token ids, image tokens expanded.
        trained: for each id, whether the loss is taken on it.
        image_id: the id that stands for a part of a picture.
        plans: how each picture is cut, in the order of their tokens.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    image_id: int
    plans: tuple[TilePlan, ...]

    @property
    def count(self) -> TokenCount:
        """How many tokens of each kind it has."""
        return TokenCount(len(self.ids), self.ids.count(self.image_id), sum(self.trained))


@dataclass(frozen=True, slots=True)
class Span:
    """A run of a rendered example: visible `text`, and whether it is `trained` on."""

    text: str
    trained: bool


class Renderer:
    """Renders and counts for one model folder; slow parts are read at the first use.

    Args:
        folder: of the model: configuration, tokenizer and chat template.
        videos: whether the model has learned videos; by default as its architecture says, which
            is wrong for the demo model only.

    Raises:
        ModelError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, *, videos: bool | None = None) -> None:
        self._folder = folder
        self.spec: ProcessorSpec = processor_spec(folder)
        config = read_json(folder / "config.json")
        learned = config.get("model_type") == "smolvlm"
        self.videos: bool = learned if videos is None else videos
        text = config.get("text_config")
        limit = text.get("max_position_embeddings") if isinstance(text, dict) else None
        self.context: int = int(limit) if isinstance(limit, int) else 8192
        self._names_of_specials = _special_tokens(folder)
        source = _template(folder)
        self._template = _compiled(source, folder)

    # Public -----------------------------------------------------------------------------------

    def render(
        self, messages: Sequence[Message], trained: Iterable[int] = (), *, sent: bool = False
    ) -> Rendered:
        """Return the token ids of `messages`, and which of them are trained on.

        Args:
            messages: a whole conversation, as an example has it.
            trained: places of the assistant turns that are learned.
            sent: the messages are already as `vlmchat.media.sending.as_sent` makes them.

        Raises:
            UsageError: the template refuses the messages, or rewrites earlier turns.
        """
        prepared, plans = self._prepared(messages, named=sent)
        mark = unused_char(prepared)
        text = self._render(prepared, mark)
        if text.count(IMAGE_TOKEN) != len(plans):
            raise UsageError("This model's chat template takes no pictures: use text only.")
        spans = [self._answer(prepared, place, text, mark) for place in sorted(set(trained))]
        ids: list[int] = []
        learned: list[bool] = []
        waiting = iter(plans)
        for start, piece in self._specials.pieces(text):
            if piece == IMAGE_TOKEN:
                block = self._block(next(waiting))
                ids += block
                learned += [False] * len(block)
            elif piece in self._specials.ids:
                ids.append(self._specials.ids[piece])
                learned.append(_within(start, spans))
            else:
                self._plain_piece(piece, start, spans, mark, ids, learned)
        return Rendered(tuple(ids), tuple(learned), self._specials.ids[IMAGE_TOKEN], tuple(plans))

    def count(self, messages: Sequence[Message], trained: Iterable[int] = ()) -> TokenCount:
        """Return how many tokens `messages` are (see `render`)."""
        return self.render(messages, trained).count

    def spans(self, messages: Sequence[Message], trained: Iterable[int] = ()) -> list[Span]:
        """Return `messages` as the model gets them, in runs that are trained on or not.

        Runs of image tokens are folded into ``⟨64 image tokens⟩``.
        """
        rendered = self.render(messages, trained)
        found: list[Span] = []
        run: list[int] = []

        def flush(learned: bool) -> None:
            if run and run[0] == rendered.image_id:
                found.append(Span(f"⟨{len(run)} image tokens⟩", trained=False))
            elif run:
                text = self._tokenizer.decode(run, skip_special_tokens=False)
                found.append(Span(text, learned))
            run.clear()

        before: tuple[bool, bool] | None = None
        for token, learned in zip(rendered.ids, rendered.trained, strict=True):
            now = (learned, token == rendered.image_id)
            if before is not None and now != before:
                flush(before[0])
            run.append(token)
            before = now
        flush(before[0] if before is not None else False)
        return found

    # Tokens -----------------------------------------------------------------------------------

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        """The tokenizer, which takes special tokens in text for plain text."""
        from tokenizers import Tokenizer

        path = self._folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare exceptions
            raise ModelError(
                f"“{visible_line(str(path))}” cannot be read: fetch the model again."
            ) from error
        # Padding and truncation that were left on when it was saved are not ours.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return tokenizer

    @cached_property
    def _specials(self) -> SpecialTokens:
        found = {
            token.content: index
            for index, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        if IMAGE_TOKEN not in found:
            raise ModelError(
                f"The tokenizer in “{visible_line(self._folder.name)}” has no {IMAGE_TOKEN}: "
                "choose a SmolVLM."
            )
        return SpecialTokens(found)

    def _block(self, plan: TilePlan) -> list[int]:
        ids: list[int] = []
        for _, piece in self._specials.pieces(image_block(plan)):
            special = self._specials.ids.get(piece)
            if special is not None:
                ids.append(special)
            else:
                ids += self._tokenizer.encode(piece, add_special_tokens=False).ids
        return ids

    def _plain_piece(
        self,
        piece: str,
        start: int,
        spans: Sequence[tuple[int, int]],
        mark: str,
        ids: list[int],
        learned: list[bool],
    ) -> None:
        """Add the tokens of a piece between special tokens."""

        def plain(text: str) -> str:
            return self._specials.plain(text, mark)

        # Where answers begin and end, in the text without masks; never inside a mask.
        inner = [
            tuple(len(plain(piece[: min(max(edge - start, 0), len(piece))])) for edge in span)
            for span in spans
        ]
        encoding = self._tokenizer.encode(plain(piece), add_special_tokens=False)
        ids += encoding.ids
        learned += [any(a <= at < b for a, b in inner) for at, _ in encoding.offsets]

    # Text -------------------------------------------------------------------------------------

    def _prepared(
        self, messages: Sequence[Message], *, named: bool
    ) -> tuple[list[Message], list[TilePlan]]:
        """Return messages with videos as their frames, and how each picture is cut."""
        if rules().number_images and not named:
            messages = numbered(messages)
        plans: list[TilePlan] = []
        prepared: list[Message] = []
        for message in messages:
            parts: list[Any] = []
            for part in message.parts:
                parts += self._frames(part) if isinstance(part, VideoPart) else (part,)
            for part in parts:
                if isinstance(part, ImagePart):
                    plans.append(plan_tiles(*part.size, self.spec, part.detail))
            prepared.append(Message(message.role, tuple(parts)))
        return prepared, plans

    def _frames(self, part: VideoPart) -> Sequence[Part]:
        """Return a video as the model is told of it; its frames are planned, not decoded."""
        frames = [(time, part.media) for time in part.clip.times]
        return frame_parts(frames, part.clip.duration, videos=self.videos)

    def _render(self, messages: Sequence[Message], mark: str, *, opened: bool = False) -> str:
        rows = self._specials.rows(messages, mark)
        try:
            return self._template.render(
                messages=rows,
                tools=None,
                documents=None,
                add_generation_prompt=opened,
                **self._names_of_specials,
            )
        except Exception as error:  # templates raise what they like
            raise UsageError(
                f"This model's chat template refuses the conversation: {visible_line(str(error))}."
            ) from error

    def _answer(
        self, messages: Sequence[Message], place: int, text: str, mark: str
    ) -> tuple[int, int]:
        """Return where the turn at `place` is written: after its opening, to the end token."""
        opening = self._render(messages[:place], mark, opened=True)
        whole = self._render(messages[: place + 1], mark)
        if not text.startswith(whole) or not whole.startswith(opening):
            raise UsageError(
                "This model's chat template writes a turn otherwise when more follows: what the "
                "model has to learn cannot be told from the rest."
            )
        tail = whole[len(opening) :]
        ends = self._specials.ends(tail)
        return len(opening), len(opening) + (ends[-1] if ends else len(tail))


def _within(at: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in spans)


# The model folder ------------------------------------------------------------------------------


def _template(folder: Path) -> str:
    """Return the chat template of a model folder, wherever it keeps it."""
    for name in _TEMPLATES:
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".jinja":
            try:
                return path.read_text("utf-8")
            except (OSError, ValueError) as error:
                raise ModelError(f"“{visible_line(str(path))}” cannot be read.") from error
        found = read_json(path).get("chat_template")
        if isinstance(found, list):  # several by name
            found = next((one["template"] for one in found if one.get("name") == "default"), None)
        if isinstance(found, str):
            return found
    raise ModelError(f"“{visible_line(folder.name)}” has no chat template: fetch the model again.")


def _special_tokens(folder: Path) -> dict[str, str]:
    """Return the tokens that templates may name, as ``bos_token``."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    found: dict[str, str] = {}
    for name in _SPECIAL_NAMES:
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            found[name] = value
    return found


def _compiled(source: str, folder: Path) -> "Template":
    """Return the template, compiled as transformers compiles it (``chat_template_utils.py``)."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Templates made for training mark answers; here the marks do nothing."""

        tags = {"generation"}  # noqa: RUF012 - the base class says so

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: object, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise ModelError(
            f"The chat template in “{visible_line(folder.name)}” is damaged: fetch it again."
        ) from error
