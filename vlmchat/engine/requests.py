"""Chat-completions requests: what is accepted, checked field by field.

Unknown and unsupported fields are refused by name, because a field that is ignored in silence is
an answer the caller did not ask for. Source of names and ranges: OpenAI's API reference of
``POST /v1/chat/completions``; ``top_k``, ``min_p`` and ``repetition_penalty`` as in vLLM. What
only this engine knows is named in ``/v1/models`` (`vlmchat.engine.events.EXTENSIONS`), so that
nobody sends it elsewhere.
"""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from vlmchat.chat.messages import Detail, ImagePart, Message, Part, TextPart, parse_detail
from vlmchat.engine.media_urls import MediaResolver
from vlmchat.engine.sampling import SamplingParams
from vlmchat.errors import UsageError
from vlmchat.media.video.plan import Sampling as FrameSampling
from vlmchat.text import visible_line


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _detail(value: object) -> Detail:
    if isinstance(value, str):
        try:
            # Numbers travel as text, as the standard's field is one; spaces and capitals do not.
            if value == str(found := parse_detail(value)):
                return found
        except UsageError:
            pass
    raise ValueError("it is low, auto, high, or the most tiles as text, like “5”")


def _some_detail(value: object) -> Detail | None:
    return None if value is None else _detail(value)


def _at(detail: Detail, part: Part) -> Part:
    return replace(part, detail=detail) if isinstance(part, ImagePart) else part


class ImageUrl(_Strict):
    """Where a picture is and how finely to look at it."""

    url: str
    detail: Annotated[Detail, PlainValidator(_detail)] = "auto"


class ImageUrlPart(_Strict):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class VideoUrl(_Strict):
    """Where a video is."""

    url: str


class VideoUrlPart(_Strict):
    """A video in a message (as in vLLM)."""

    type: Literal["video_url"]
    video_url: VideoUrl


class ProcessorOptions(_Strict):
    """Which frames of videos are taken (``mm_processor_kwargs`` of vLLM)."""

    fps: Annotated[float, Field(gt=0, le=1000)] = 1.0
    num_frames: Annotated[int, Field(ge=1, le=256)] = 64


class TextContentPart(_Strict):
    """Text in a message."""

    type: Literal["text"]
    text: str


ContentPart: TypeAlias = Annotated[
    TextContentPart | ImageUrlPart | VideoUrlPart, Field(discriminator="type")
]


class WireMessage(_Strict):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: str | list[ContentPart]


class StreamOptions(_Strict):
    """What a streamed answer carries besides text."""

    include_usage: bool = False


class Conversation(_Strict):
    """What is asked, and of which model."""

    messages: list[WireMessage] = Field(min_length=1)
    model: str | None = None
    mm_processor_kwargs: ProcessorOptions = ProcessorOptions()

    def conversation(self, resolver: MediaResolver, *, videos: bool) -> list[Message]:
        """Return the messages with their pictures' bytes and their videos' frames.

        Args:
            resolver: reads what URLs name.
            videos: the model has learned videos.

        Raises:
            UsageError: an address is refused.
            MediaError: a picture or a video cannot be read.
        """
        options = self.mm_processor_kwargs
        sampling = FrameSampling(fps=options.fps, max_frames=options.num_frames)

        def parts(content: str | list[ContentPart]) -> Iterator[Part]:
            for part in [content] if isinstance(content, str) else content:
                if isinstance(part, str):
                    yield TextPart(part)
                elif isinstance(part, TextContentPart):
                    yield TextPart(part.text)
                elif isinstance(part, VideoUrlPart):
                    yield from resolver.video(part.video_url.url, sampling, videos=videos)
                else:
                    yield ImagePart(resolver.image(part.image_url.url), part.image_url.detail)

        return [Message(row.role, tuple(parts(row.content))) for row in self.messages]


class ChatRequest(Conversation):
    """The body of ``POST /v1/chat/completions``."""

    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    n: Literal[1] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    """Go on with the last message instead of beginning an answer to it (as in vLLM)."""
    repeat_guard: bool | None = None
    """End an answer that says the same again and again; off unless asked for."""
    prompt_lookup: bool | None = None
    """Guess tokens from the text before and check several at once; off unless asked for."""
    when_full: Literal["refuse", "drop oldest"] = "refuse"
    """What becomes of a conversation that is longer than the context."""
    return_progress: bool = False
    """Tell in a stream how far the prompt has been read (as in llama-server)."""
    priority: int = Field(0, ge=-(2**31), lt=2**31)
    """Of requests that wait, the lowest is answered first (as in vLLM)."""
    user: str | None = None
    """The caller's name for its own user: part of the standard, and of no effect anywhere."""

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.add_generation_prompt == self.continue_final_message:
            raise ValueError("add_generation_prompt or continue_final_message, not both or none")
        if self.continue_final_message and self.messages[-1].role != "assistant":
            raise ValueError("continue_final_message needs an assistant message at the end")
        return self

    def sampling(self) -> SamplingParams:
        """Return how tokens are to be chosen."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        defaults = SamplingParams()
        names = ["temperature", "top_p", "min_p", "repetition_penalty"]
        names += ["frequency_penalty", "presence_penalty"]
        chosen = {name: getattr(self, name) for name in names}
        return SamplingParams(
            **{k: getattr(defaults, k) if v is None else v for k, v in chosen.items()},
            top_k=max(self.top_k or 0, 0),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            seed=secrets.randbelow(2**31) if self.seed is None else self.seed,
            stop=tuple(text for text in stop if text),
            repeat_guard=bool(self.repeat_guard),
            prompt_lookup=bool(self.prompt_lookup),
        )


class ScoreRequest(Conversation):
    """The body of ``POST /v1/score``."""

    continuations: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    detail: Annotated[Detail | None, PlainValidator(_some_detail)] = None
    """How finely to look at all pictures, in place of what each of them says."""

    def conversation(self, resolver: MediaResolver, *, videos: bool) -> list[Message]:
        """Return the messages; see `Conversation`."""
        messages = super().conversation(resolver, videos=videos)
        if self.detail is None:
            return messages
        return [
            replace(message, parts=tuple(_at(self.detail, part) for part in message.parts))
            for message in messages
        ]


class EvidenceRequest(Conversation):
    """The body of ``POST /v1/evidence``; the last message is the answer."""

    word: tuple[int, int] | None = Field(None, strict=False)
    """First character of a word of the answer, and the one behind its last; by default all."""
    hide: bool = True
    """Whether to hide what was looked at most, and tell how likely the answer is then."""
    elsewhere: int = Field(3, ge=0, le=16)
    """How many other places of the same size are hidden, one at a time, to compare."""


class EmbeddingRequest(_Strict):
    """The body of ``POST /v1/embeddings``; pictures may be among the texts."""

    input: list[str | TextContentPart | ImageUrlPart] = Field(min_length=1, max_length=1024)
    model: str | None = None

    def parts(self, resolver: MediaResolver) -> list[TextPart | ImagePart]:
        """Return the texts, and the pictures with their bytes.

        Raises:
            UsageError: an address is refused.
            MediaError: a picture cannot be read.
        """
        return [
            ImagePart(resolver.image(item.image_url.url))
            if isinstance(item, ImageUrlPart)
            else TextPart(item if isinstance(item, str) else item.text)
            for item in self.input
        ]


class LoadAdapter(_Strict):
    """The body of ``POST /v1/load_lora_adapter``, as in vLLM."""

    lora_name: str = Field(min_length=1, max_length=200)
    lora_path: str = Field(min_length=1)
    load_inplace: bool = False
    """Another adapter of that name gives way, instead of the request being refused."""


class UnloadAdapter(_Strict):
    """The body of ``POST /v1/unload_lora_adapter``, as in vLLM."""

    lora_name: str = Field(min_length=1)


_Body = TypeVar("_Body", bound=_Strict)


def parse_request(body: Any) -> ChatRequest:  # noqa: ANN401 - JSON may be anything
    """Return the checked request for an answer.

    Raises:
        UsageError: the first thing that is wrong, by the name of its field.
    """
    return parse(ChatRequest, body)


def parse(kind: type[_Body], body: Any) -> _Body:  # noqa: ANN401 - JSON may be anything
    """Return the checked request of a kind.

    Raises:
        UsageError: the first thing that is wrong, by the name of its field.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        named = [(_field_name(body, item["loc"]), item) for item in problems]
        # A union reports every branch that failed; the one that got furthest is the one meant.
        name, problem = max(named, key=lambda pair: len(pair[0]))
        raise UsageError(_sentence(visible_line(name), dict(problem))) from None


def _field_name(body: Any, location: tuple[int | str, ...]) -> str:  # noqa: ANN401
    """Return the path of a problem in the caller's own words, as ``messages[0].content``.

    The schema's names for the members of a union are left out: they lead nowhere in `body`.
    """
    name, value = "", body
    for index, step in enumerate(location):
        tag = isinstance(value, dict) and name.endswith("]") and step == value.get("type")
        if tag:  # a part's own kind, which may be the name of one of its fields, too
            continue
        if isinstance(step, int) and isinstance(value, list):
            name, value = f"{name}[{step}]", value[step]
        elif isinstance(value, dict) and (step in value or index == len(location) - 1):
            name = f"{name}.{step}" if name else str(step)
            value = value.get(step)
    return name


def _sentence(name: str, problem: dict[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"The field “{name}” is not supported here: leave it out."
    if problem["type"] == "missing":
        return f"The field “{name}” is missing."
    where = f"The field “{name}”" if name else "The request"
    given = visible_line(repr(problem["input"])[:60])
    return f"{where} is not valid: {str(problem['msg']).lower()} (it is {given})."
