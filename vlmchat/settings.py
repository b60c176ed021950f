"""Everything a person can set, and where each value comes from.

In rising order: the defaults here, ``config.toml`` in the configuration folder, ``VLMCHAT_*``
environment variables (``VLMCHAT_SAMPLING__TEMPERATURE=0.2``), and what the command line gave.

Each field says in its schema when a change takes effect (``applies``, see `Applies`).
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from vlmchat import paths
from vlmchat.chat.messages import Detail, parse_detail
from vlmchat.client.protocol import Sampling
from vlmchat.errors import UsageError
from vlmchat.media.rules import DEFAULT_LIMITS, Background, Limits, MediaRules, use_rules
from vlmchat.media.video.limits import VideoLimits
from vlmchat.media.video.plan import Method
from vlmchat.media.video.plan import Sampling as FrameSampling
from vlmchat.settings_faults import ENV_PREFIX, NESTED, reason_of, refusal_of, sentence_of
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.client.supervisor import EngineOptions

Quant: TypeAlias = Literal["auto", "none", "8bit", "4bit"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Native: TypeAlias = Literal["auto", "off"]
NonEmpty: TypeAlias = Annotated[str, StringConstraints(min_length=1)]

Applies: TypeAlias = Literal["now", "engine restart", "new conversation", "next start"]


def _applies(when: Applies) -> dict[str, Any]:
    return {"applies": when}


_NOW = _applies("now")
_RESTART = _applies("engine restart")
_NEW = _applies("new conversation")


def _detail(value: object) -> Detail:
    try:
        return parse_detail(value)
    except UsageError:
        raise ValueError("it is low, auto, high or the most tiles, from 1 up") from None


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class EngineSettings(_Group):
    """Which engine answers."""

    model: NonEmpty | None = Field(default=None, json_schema_extra=_RESTART)
    """Catalogue name, Hub id (``owner/name`` or ``owner/name@revision``) or folder; the hardware
    decides when it is not given."""

    quant: Quant = Field(title="Quantization", default="auto", json_schema_extra=_RESTART)
    """Weight precision of the local engine."""

    device: Device = Field(default="auto", json_schema_extra=_RESTART)
    """Where the local engine computes."""

    adapter: NonEmpty | None = Field(default=None, json_schema_extra=_RESTART)
    """Name of an adapter on the shelf, or folder of a PEFT adapter, to lay over the model;
    off takes away even the model's own."""

    native: Native = Field(title="Native step", default="auto", json_schema_extra=_RESTART)
    """Whether tokens are computed by code that is compiled for this processor on first use, where a
    C++ compiler is at hand (auto), or always by PyTorch (off)."""

    threads: int = Field(default=0, ge=0, le=1024, json_schema_extra=_RESTART)
    """Threads of the local engine; 0 takes one a core and fewer while other programs are busy."""

    url: NonEmpty | None = Field(default=None, title="Address", json_schema_extra=_RESTART)
    """Address of an OpenAI-compatible server to use instead of the local engine."""

    conversations_mib: int | None = Field(
        default=None, ge=0, title="Memory for conversations", json_schema_extra=_RESTART
    )
    """Mebibytes the local engine keeps of conversations it has read, so that a next question is
    answered at once; a quarter of the free memory when not given, 0 for none."""

    pictures_mib: int = Field(
        default=256, ge=0, title="Memory for pictures", json_schema_extra=_RESTART
    )
    """Mebibytes the local engine keeps of pictures it has looked at; 0 for none."""

    pictures_disk_mib: int = Field(
        default=0, ge=0, title="Disk for pictures", json_schema_extra=_RESTART
    )
    """The same on the disk, so that a conversation from last week goes on at once; 0, the default,
    keeps nothing there, as it would outlive a picture that is deleted."""

    api_key: NonEmpty | None = Field(
        default=None, title="API key", repr=False, json_schema_extra={**_RESTART, "secret": True}
    )
    """Bearer token for `url`."""

    def cache_arguments(self) -> tuple[str, ...]:
        """Return the engine's arguments for what it keeps, those that are not its own defaults."""
        arguments: list[str] = []
        for name in ("conversations_mib", "pictures_mib", "pictures_disk_mib"):
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                arguments += [f"--{name.replace('_', '-')}", str(value)]
        return tuple(arguments)


class SamplingSettings(_Group):
    """How the next token is chosen; what is not given is left to the engine."""

    temperature: float | None = Field(default=None, ge=0, le=2, json_schema_extra=_NEW)
    """0 is greedy; higher is more varied."""

    top_p: float | None = Field(title="Top-p", default=None, gt=0, le=1, json_schema_extra=_NEW)
    """Sample from the smallest set of tokens that holds this much probability."""

    top_k: int | None = Field(title="Top-k", default=None, ge=0, json_schema_extra=_NEW)
    """Sample from the k likeliest tokens; 0 for all."""

    min_p: float | None = Field(title="Min-p", default=None, ge=0, le=1, json_schema_extra=_NEW)
    """Drop tokens less likely than this fraction of the likeliest."""

    repetition_penalty: float | None = Field(default=None, gt=0, le=10, json_schema_extra=_NEW)
    """Above 1 discourages tokens that were already said (CTRL, Keskar et al. 2019)."""

    max_tokens: int | None = Field(
        title="Max new tokens", default=512, ge=1, json_schema_extra=_NEW
    )
    """Longest answer, tokens."""

    seed: int | None = Field(default=None, ge=0, json_schema_extra=_NEW)
    """Makes sampling repeatable."""

    stop: tuple[NonEmpty, ...] = Field(title="Stop strings", default=(), json_schema_extra=_NEW)
    """Texts that end the answer."""

    repeat_guard: bool = Field(title="Repetition guard", default=False, json_schema_extra=_NEW)
    """End an answer that says the same four times in a row, for 48 tokens at least; local engine
    only."""

    prompt_lookup: bool = Field(title="Prompt lookup", default=False, json_schema_extra=_NEW)
    """Guess words from the text before and check several at once: the same answer, sooner where it
    quotes, later where it does not; local engine only."""

    def as_sampling(self) -> Sampling:
        """Return the values as the client sends them."""
        return Sampling(**{name: getattr(self, name) for name in type(self).model_fields})


class ChatSettings(_Group):
    """What every new conversation starts with."""

    system: str = Field(title="System prompt", default="", json_schema_extra=_NEW)
    """System prompt, or ``@NAME`` for one that has a name; empty for none."""

    describe_prompt: NonEmpty = Field(
        default=(
            "Describe this picture for someone who cannot see it. Say first what it is as a whole, "
            "then what is in it and where, with colours, then read out any text in it."
        ),
        json_schema_extra=_NOW,
    )
    """What /describe asks about a picture."""

    when_full: Literal["refuse", "drop oldest"] = Field(
        title="When the context is full", default="refuse", json_schema_extra=_NEW
    )
    """What becomes of a conversation that is too long for the local model: it is refused, or the
    oldest questions are left out with their answers, which is told."""

    save: bool = Field(
        title="Keep conversations", default=True, json_schema_extra=_applies("next start")
    )
    """Whether conversations are kept on this machine."""


class MediaSettings(_Group):
    """Where pictures come from, and how they are shown to the model."""

    detail: Annotated[Detail, PlainValidator(_detail, json_schema_input_type=Detail)] = Field(
        default="auto", json_schema_extra=_NEW
    )
    """How finely the model looks: one tile (low), as much as the picture holds (auto), as the
    model's own processor would, scaled up (high), or at most so many tiles (a number)."""

    background: Background = Field(default="white", json_schema_extra=_NOW)
    """What transparent parts of a picture are laid over for the model."""

    number_images: bool = Field(default=False, json_schema_extra=_NOW)
    """Whether each picture is named to the model (Image 1, Image 2 and so on, through the whole
    conversation), so that a question can say which one it means."""

    max_pixels: int = Field(
        title="Largest picture, pixels",
        default=DEFAULT_LIMITS.max_pixels,
        ge=1,
        json_schema_extra=_NOW,
    )
    """Pictures with more pixels (width times height) are refused before they are decoded; one
    takes up to nine bytes of memory a pixel."""

    max_bytes: int = Field(
        title="Largest file, bytes",
        default=DEFAULT_LIMITS.max_bytes,
        ge=1,
        json_schema_extra=_NOW,
    )
    """Larger picture files are refused before they are read."""

    video_fps: float = Field(
        title="Frames per second of video", default=1.0, gt=0, le=1000, json_schema_extra=_NOW
    )
    """How many frames the model gets of each second of a video, within the budget below."""

    video_frames: int = Field(
        title="Most frames of a video", default=64, ge=1, le=256, json_schema_extra=_NOW
    )
    """The most frames the model gets of one video; fewer where they would fill more than half of
    what is left of its context."""

    video_method: Method = Field(
        title="How frames are chosen", default="uniform", json_schema_extra=_NOW
    )
    """Spread evenly (uniform), after the largest changes of what is seen (scenes), or those that
    are stored whole, which are quick to read (keyframes)."""

    video_max_seconds: float = Field(
        title="Longest video, seconds", default=24 * 3600.0, gt=0, json_schema_extra=_NOW
    )
    """Longer videos are refused."""

    video_max_bytes: int = Field(
        title="Largest video, bytes", default=20_000_000_000, ge=1, json_schema_extra=_NOW
    )
    """Larger video files are refused, attached or imported."""

    video_decode_seconds: float = Field(
        title="Longest wait for frames, seconds", default=10.0, gt=0, json_schema_extra=_NOW
    )
    """Reading the frames of a video ends after this time with those that were found."""

    allowed_hosts: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=_NOW)
    """Hosts that pictures are fetched from without asking, when you attach a web address."""

    def as_rules(self) -> MediaRules:
        """Return what `Settings.put_in_force` puts in force."""
        limits = Limits(self.max_bytes, self.max_pixels)
        videos = VideoLimits(
            max_bytes=self.video_max_bytes,
            max_picture_bytes=self.max_bytes,
            max_pixels=self.max_pixels,
            max_seconds=self.video_max_seconds,
            decode_seconds=self.video_decode_seconds,
        )
        sampling = FrameSampling(self.video_method, self.video_fps, self.video_frames)
        return MediaRules(limits, self.background, self.number_images, sampling, videos)


class UiSettings(_Group):
    """The chat screen."""

    theme: NonEmpty = Field(default="harbour", json_schema_extra=_NOW)
    """Name of a theme file (without ``.toml``) or of one of Textual's own themes."""

    enter: Literal["send", "newline"] = Field(
        title="Enter key", default="send", json_schema_extra=_NOW
    )
    """What Enter does; Ctrl+J is always a new line, and Ctrl+S always sends."""

    motion: Literal["full", "reduced"] = Field(default="full", json_schema_extra=_NOW)
    """``reduced``: nothing moves by itself: no animation, no blinking cursor, words for bars."""

    pictures: Literal["auto", "kitty", "sixel", "blocks", "off"] = Field(
        default="auto", json_schema_extra=_applies("next start")
    )
    """How pictures are shown: by the best way the terminal knows, by one of its two graphics
    protocols, as coloured half blocks, or as a line of text only."""

    picture_rows: int = Field(default=10, ge=1, le=100, json_schema_extra=_applies("next start"))
    """The most rows that a picture in the conversation takes."""

    plain_flush: Literal["word", "line", "sentence", "whole"] = Field(
        title="Plain mode writes by", default="sentence", json_schema_extra=_NOW
    )
    """How much of an answer ``--plain`` writes at a time. A screen reader speaks each piece of new
    text by itself: whole sentences keep their melody, single words stutter."""

    plain_figures: bool = Field(
        title="Figures in plain mode", default=False, json_schema_extra=_NOW
    )
    """Whether ``--plain`` writes times and token counts below each answer, as --verbose does."""


class Settings(BaseSettings):
    """All settings; use `load_settings` to read them."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=NESTED,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    engine: EngineSettings = EngineSettings()
    sampling: SamplingSettings = SamplingSettings()
    chat: ChatSettings = ChatSettings()
    media: MediaSettings = MediaSettings()
    ui: UiSettings = UiSettings()
    keys: dict[str, str] = Field(default_factory=dict, json_schema_extra=_NOW)
    """Keys by command name (``attach = "ctrl+o,f5"``); no text for no key."""

    @field_validator("keys", mode="before")
    @classmethod
    def _flat_keys(cls, value: object) -> object:
        """Take ``composer.history = …`` (a table within a table) for ``"composer.history" = …``."""
        return _flattened(value)

    def engine_options(self) -> "EngineOptions":
        """Return how the local engine is started."""
        from vlmchat.client.supervisor import EngineOptions
        from vlmchat.models.adapter import for_engine

        return EngineOptions(
            self.engine.model,
            self.engine.quant,
            self.engine.device,
            for_engine(self.engine.adapter),
            self.engine.threads,
            self.engine.native,
            max_pixels=self.media.max_pixels,
            max_bytes=self.media.max_bytes,
            extra=self.engine.cache_arguments(),
        )

    def as_sampling(self) -> Sampling:
        """Return how the next answers are asked for."""
        when_full = None if self.chat.when_full == "refuse" else self.chat.when_full
        return replace(self.sampling.as_sampling(), when_full=when_full)

    def put_in_force(self) -> None:
        """Have this process read media as the settings say, from now on."""
        use_rules(self.media.as_rules())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put flags before the environment before the configuration file; there is no ``.env``."""
        return (
            init_settings,
            EnvSettingsSource(settings_cls, env_ignore_empty=True),
            InitSettingsSource(settings_cls, read_config(paths.config_file())),
        )


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def read_config(path: Path) -> dict[str, Any]:
    """Return the table in the TOML file at `path`; empty when there is no such file.

    Raises:
        UsageError: it cannot be read or is not TOML; the sentence names file and line.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{visible_line(str(path))} is not valid TOML: {error}.") from None
    except OSError as error:
        raise UsageError(
            f"{visible_line(str(path))} cannot be read ({error.strerror}): check its permissions."
        ) from None


def load_settings(overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read all settings.

    Args:
        overrides: what the command line gave, as ``{"engine": {"model": "demo"}}``.

    Raises:
        UsageError: one sentence with where the bad value is and what is wrong with it.
    """
    given: dict[str, Any] = {group: dict(values) for group, values in (overrides or {}).items()}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise UsageError(sentence_of(error, given)) from None
    except SettingsError as error:
        # Raised for environment values of a composite type that are not JSON.
        raise UsageError(f"A {ENV_PREFIX}* environment variable is wrong: {error}.") from None


def check_config(table: Mapping[str, Any], key: str = "") -> None:
    """Check what `config.toml` would hold, without environment and command line.

    Args:
        table: the whole file.
        key: the setting that is new in it, as ``ui.theme``.

    Raises:
        UsageError: one sentence with what is wrong: of `key`, or of what was there before.
    """
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in Settings.model_fields.items()
    }
    flat = {"flat": field_validator("keys", mode="before")(_flattened)}
    try:
        create_model("Configuration", __base__=_Group, __validators__=flat, **fields)(**table)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False):
            keys = tuple(str(part) for part in fault["loc"])
            if key and f"{'.'.join(keys)}.".startswith(f"{key}."):
                raise UsageError(refusal_of(fault["type"], keys, fault)) from None
        raise UsageError(sentence_of(error, {})) from None


def _flattened(value: object) -> object:
    return dict(_flat(value)) if isinstance(value, Mapping) else value


def parse_sampling(current: Sampling, name: str, text: str) -> Sampling:
    """Return `current` with the parameter `name` set from what a person typed.

    Args:
        current: the parameters so far.
        name: as in `SamplingSettings`; dashes count as underscores.
        text: the value; ``default`` or ``none`` goes back to the engine's own.

    Raises:
        UsageError: no such parameter, or a value out of its range.
    """
    key = name.replace("-", "_").lower()
    known = SamplingSettings.model_fields
    if key not in known:
        raise UsageError(
            f"There is no parameter “{visible_line(name)}”: it is one of {', '.join(known)}."
        )
    values: dict[str, Any] = {field: getattr(current, field) for field in known}
    if text.strip().lower() in ("default", "none", ""):
        values[key] = known[key].default
    else:
        values[key] = (text,) if key == "stop" else text.strip()
    try:
        changed = SamplingSettings(**values).as_sampling()
        return replace(changed, when_full=current.when_full)
    except ValidationError as error:
        reason = reason_of(error.errors()[0]["msg"])
        raise UsageError(f"“{visible_line(text)}” is no value for {key}: {reason}.") from None
