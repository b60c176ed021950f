"""What goes to an engine and what comes back: plain values, no network."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from vlmchat.media.tiles import ProcessorSpec

# Fields of a request that only engines take which name them in ``/v1/models``.
OWN_FIELDS = frozenset({"repeat_guard", "prompt_lookup", "when_full", "priority"})


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; ``None`` leaves a parameter to the engine.

    Names and meanings are those of the chat-completions API, and of vLLM's extensions to it for
    ``top_k``, ``min_p`` and ``repetition_penalty``. The last four are this program's own, or not
    for every engine (`OWN_FIELDS`): they go to those only that say they know them. Of requests
    that wait, an engine answers those of the lowest ``priority`` first.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    repeat_guard: bool = False
    prompt_lookup: bool = False
    when_full: str | None = None
    priority: int | None = None

    def with_set(self, other: "Sampling") -> "Sampling":
        """Return these parameters with those instead that are set in `other`."""
        unset = Sampling()
        names = [item.name for item in fields(self)]
        values = {name: getattr(other, name) for name in names}
        return replace(self, **{k: v for k, v in values.items() if v != getattr(unset, k)})

    def as_fields(self) -> dict[str, Any]:
        """Return the request fields of the parameters that are set."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["stop"] = list(self.stop) or None
        return {
            name: value
            for name, value in values.items()
            if value is not None and not (name in OWN_FIELDS and value is False)
        }


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The first text of an answer is there; from engines that say what they answer with.

    Attributes:
        provenance: as of `Finished`, as far as it is known now.
    """

    provenance: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """How far an engine has read a prompt (llama-server's ``prompt_progress``).

    Attributes:
        total: tokens of the prompt.
        processed: those that are read, from the cache or anew.
        tiles: tiles of pictures that have been looked at.
        tiles_total: those that have to be; 0 where the engine does not say.
    """

    total: int
    processed: int
    tiles: int = 0
    tiles_total: int = 0

    @classmethod
    def from_json(cls, row: object) -> "Reading | None":
        """Return what an engine says; ``None`` if it makes no sense."""
        if not isinstance(row, dict):
            return None
        names = ("total", "processed", "vision_tiles", "vision_tiles_total")
        numbers = [row.get(name, 0) for name in names]
        if not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers):
            return None
        return cls(*numbers)

    def __str__(self) -> str:
        """Return it in a few words for a person."""
        if self.tiles < self.tiles_total:
            return f"looking at tile {self.tiles + 1} of {self.tiles_total}"
        return f"reading {_grouped(self.processed)} of {_grouped(self.total)} tokens"


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a given answer is.

    Attributes:
        logprob: natural logarithm of the probability of all its tokens, its end among them.
        tokens: how many they are.
        token_logprobs: of each of them.
    """

    logprob: float
    tokens: int
    token_logprobs: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The logarithm for a token, which long answers and short ones can be compared by."""
        return self.logprob / self.tokens


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer.

    Attributes:
        finish_reason: ``stop``, ``length`` or what the engine said.
        usage: token counts, when the engine gave them.
        timings: llama-server's ``timings`` object (milliseconds, tokens per second), may be empty.
        provenance: what produced the answer (model, revision, quantization, adapter, device,
            dtype, seed), as far as the engine said.
    """

    finish_reason: str
    usage: Usage | None
    timings: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


StreamEvent: TypeAlias = Begun | TextDelta | Finished

EngineStage: TypeAlias = Literal[
    "starting", "downloading", "converting", "loading", "quantizing", "ready", "failed", "unloaded"
]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model an engine serves, as its ``/v1/models`` and ``/health`` say.

    Attributes:
        id: name to ask for in requests.
        title: name for a person; says so when it is the demo model.
        notice: a sentence the person should see once (why this model, how to get another).
        context: most tokens of prompt and answer together; 0 when unknown.
        images: whether pictures may be sent.
        processor: how it cuts pictures, if it says so: what they cost is reckoned from that.
        video: whether the model has learned videos.
        parent: of an adapter, the model that it is laid over.
        server: the program that serves it, by its name; empty where it does not say.
        own_adapter: name of the adapter that it brings along to read pictures with, or empty.
    """

    id: str
    title: str
    revision: str = ""
    quantization: str = ""
    device: str = ""
    dtype: str = ""
    adapter: str = ""
    notice: str = ""
    context: int = 0
    images: bool = True
    processor: ProcessorSpec | None = None
    video: bool = False
    parent: str = ""
    server: str = ""
    own_adapter: str = ""

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "ModelInfo":
        """Build from one row of ``/v1/models``; unknown engines give only an ``id``."""
        meta = row.get("meta")
        known = {item.name for item in fields(cls)} - {"id", "title", "parent", "server"}
        extra = {k: v for k, v in meta.items() if k in known} if isinstance(meta, dict) else {}
        if "processor" in extra:
            extra["processor"] = ProcessorSpec.from_row(extra["processor"])
        name = str(row.get("id", ""))
        title = str(meta.get("title", name)) if isinstance(meta, dict) else name
        return cls(id=name, title=title, parent=str(row.get("parent") or ""), **extra)


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter that an engine has laid over its model.

    Attributes:
        model: the two together; its `id` is what requests ask for.
        remark: a sentence that a person should see; may be empty.
    """

    model: ModelInfo
    remark: str = ""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where an engine stands.

    Attributes:
        stage: what it is doing.
        text: one line for a person; for ``failed`` the sentence that says what to do.
        done: bytes or steps done of `total`; `total` is 0 when there is no measure.
        model: set when `stage` is ``ready``.
    """

    stage: EngineStage
    text: str = ""
    done: int = 0
    total: int = 0
    model: ModelInfo | None = None
