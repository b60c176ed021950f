"""``vlmchat replay``: a saved answer made once more, under the conditions it was made under."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides
from vlmchat.errors import EngineError, UsageError, VlmchatError
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.conversation import Entry
    from vlmchat.chat.messages import Message
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import ModelInfo, Sampling
    from vlmchat.client.supervisor import EngineOptions
    from vlmchat.settings import Settings

_DIFFERENT = 1
_SHOWN = 20
_CONDITIONS = {
    "model": "model",
    "revision": "revision",
    "quantization": "quantization",
    "adapter": "adapter",
    "device": "device",
    "dtype": "number format",
}


@dataclass(slots=True)
class Saved:
    """The answer as it was.

    Attributes:
        messages: what was sent, the begun answer last if one was continued.
        prefix: that begun answer.
        whole: whether it came to its own end.
        engine: as `Provenance.engine`.
    """

    uid: str
    text: str
    prefix: str
    whole: bool
    messages: "list[Message]"
    sampling: "Sampling"
    engine: dict[str, Any]


@dataclass(slots=True)
class Where:
    """Which engine is asked.

    Attributes:
        url: address of a server; ``None`` for the local engine.
        local: candidates for the local engine, the most alike first.
        model: which of the server's models, when it must be a certain one.
    """

    url: str | None
    api_key: str | None
    local: "list[EngineOptions]"
    model: str | None


@dataclass(slots=True)
class Verdict:
    """How the new answer compares.

    Attributes:
        differs_at: index of the first character that is another; ``None`` for identical.
        unmet: a sentence for each condition that is not what it was.
    """

    saved: Saved
    text: str
    differs_at: int | None
    model: "ModelInfo"
    unmet: list[str] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return self.differs_at is None

    def sentence(self) -> str:
        """Return the verdict for a person."""
        if self.differs_at is None:
            if self.saved.whole:
                return "Identical to the saved answer."
            return "Identical to the saved answer, as far as that came."
        place = self.differs_at
        return (
            f"Differs from the saved answer from character {place + 1} on: it was "
            f"{_excerpt(self.saved.text, place)}, it is {_excerpt(self.text, place)}."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "uid": self.saved.uid,
            "identical": self.identical,
            "differs_at": self.differs_at,
            "saved": self.saved.text,
            "text": self.text,
            "model": self.model.id,
            "revision": self.model.revision,
            "unmet": self.unmet,
        }


def replay(
    which: Annotated[
        str, typer.Argument(metavar="ID", help="Of the answer, or its beginning; /info shows it.")
    ],
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed than the answer was made with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a saved answer once more, and say whether it is the same.

    The same messages, pictures, parameters and seed go to the same model; options name another.
    Exit codes: 0 identical, 1 not, 2 bad usage, 3 the engine or the model failed.
    """
    if engine_url and (quant or device or adapter):
        raise UsageError("--quant, --device and --adapter are for the local engine only.")
    overrides = engine_overrides(
        model=model,
        quant=quant,
        device=device,
        adapter=adapter or None,
        url=engine_url,
        api_key=api_key,
    )
    saved = _saved(which)
    if seed is not None:
        saved.sampling = replace(saved.sampling, seed=seed)
    with quiet_endings():
        verdict = asyncio.run(_replay(saved, _where(saved, overrides), quiet=as_json))
        _tell(verdict, as_json)
        raise typer.Exit(0 if verdict.identical else _DIFFERENT)


# What was saved -----------------------------------------------------------------------------------


def _saved(which: str) -> Saved:
    """Return the answer that `which` names, with all that it was made of.

    Raises:
        UsageError: there is none, or it cannot be made again.
    """
    from vlmchat import paths
    from vlmchat.store.store import Store
    from vlmchat.talk.turns.tree import history, tree_of

    with Store(paths.data_dir()) as store:
        thread, uid = store.find_message(which)
        conversation = store.conversation(thread)
    entry = next(item for item in conversation.entries if item.uid == uid)
    _check(entry)
    made = entry.provenance
    assert made is not None
    turn = tree_of(conversation).find(uid)
    assert turn is not None
    text = turn.text
    begun = made.engine.get("continued_from")
    prefix = text[:begun] if isinstance(begun, int) and begun > 0 else ""
    path = turn.lineage()[:-1]
    if prefix:
        turn.say(prefix)
        path.append(turn)
    return Saved(
        *(uid, text, prefix, entry.state == "complete"),
        messages=history(made.system, path),
        sampling=_sampling(made.sampling, made.engine.get("seed")),
        engine=dict(made.engine),
    )


def _check(entry: "Entry") -> None:
    """Refuse what no engine has made.

    Raises:
        UsageError: says why.
    """
    shown = visible_line(entry.uid)
    if entry.message.role != "assistant":
        raise UsageError(f"{shown} is a question: name the answer to it.")
    if entry.author == "person":
        raise UsageError(f"{shown} was written by you: no model can make it again.")
    if entry.provenance is None:
        raise UsageError(f"What produced {shown} is not known: it cannot be made again.")
    if not entry.message.text:
        raise UsageError(f"{shown} has no text: there is nothing to compare with.")


def _sampling(values: Mapping[str, Any], seed: object) -> "Sampling":
    """Return the parameters that were sent, with the seed that the engine drew."""
    from vlmchat.client.protocol import Sampling

    known = {item.name for item in fields(Sampling)}
    given = {name: value for name, value in values.items() if name in known}
    stop = given.get("stop") or ()
    given["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    if isinstance(seed, int):
        given["seed"] = seed
    return Sampling(**given)


# Where it is asked for ----------------------------------------------------------------------------


def _where(saved: Saved, overrides: dict[str, Any]) -> Where:
    """Return which engine to ask: the one that answered, or what the options say instead.

    Raises:
        UsageError: it answered from an address that nobody has named here: what is imported must
            not be able to send a conversation anywhere.
    """
    from vlmchat.settings import load_settings

    settings = load_settings({"engine": overrides})
    settings.put_in_force()
    engine = settings.engine
    named = {name for name in ("model", "quant", "device", "adapter") if overrides.get(name)}
    url = saved.engine.get("url")
    if overrides.get("url"):
        return Where(engine.url, engine.api_key, [], engine.model or _text(saved, "model"))
    if isinstance(url, str) and not named:
        if engine.url is None or _root(engine.url) != _root(url):
            shown = visible_line(url)
            raise UsageError(
                f"This answer came from {shown}: add --engine-url {shown} to ask there again, "
                "or --model to ask another model."
            )
        return Where(engine.url, engine.api_key, [], _text(saved, "model"))
    if not saved.engine.get("model") and engine.url and not named:
        return Where(engine.url, engine.api_key, [], engine.model)
    return Where(None, None, _candidates(saved, overrides, settings), None)


def _root(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1").rstrip("/").rpartition("@")[2].rpartition("//")[2]


def _text(saved: Saved, name: str) -> str | None:
    value = saved.engine.get(name)
    return value if isinstance(value, str) and value else None


def _candidates(
    saved: Saved, overrides: dict[str, Any], settings: "Settings"
) -> "list[EngineOptions]":
    """Return the local engine as it was, then the nearest to it that may be had."""
    from vlmchat.models.adapter import for_engine

    model, revision = _text(saved, "model"), _text(saved, "revision")
    exact = f"{model}@{revision}" if model and revision and model != "demo" else model
    quant, device = _text(saved, "quantization"), _text(saved, "device")
    adapter = _adapter(saved)
    if "model" in overrides:
        # Another model may not take what this one had.
        exact, adapter, model = overrides["model"], None, overrides["model"]
    exact, model = exact or settings.engine.model, model or settings.engine.model
    quant = overrides.get("quant") or (quant if quant in ("none", "8bit", "4bit") else "auto")
    wanted = overrides.get("device") or (device if device in ("cpu", "cuda") else "auto")
    if "adapter" in overrides:
        adapter = for_engine(overrides["adapter"])
    base = replace(settings.engine_options(), quant=quant, adapter=adapter)
    if (_text(saved, "way") or "").startswith("portable"):
        base = replace(base, native="off")  # the last bits come out as they did
    free = overrides.get("device") or "auto"
    several = (
        replace(base, model=exact, device=wanted),
        replace(base, model=exact, device=free),
        replace(base, model=model, device=free),
    )
    return list(dict.fromkeys(several))


def _adapter(saved: Saved) -> str | None:
    """Return the folder of the adapter that answered: where it was, else on the shelf by its hash.

    An adapter that was learned anew under the same name is another one.
    """
    from vlmchat.finetune.shelf import digest_of, read_folder, with_digest
    from vlmchat.models.adapter import OFF

    name = _text(saved, "adapter") or ""
    if name == OFF:
        return OFF
    digest = name.rpartition("@")[2]
    path = _text(saved, "adapter_path")
    there = path if path and (Path(path) / "adapter_config.json").is_file() else None
    with contextlib.suppress(VlmchatError):
        if there and digest and digest_of(read_folder(Path(there))) == digest:
            return there
        if found := with_digest(digest):
            return str(found.folder)
    return there


@contextlib.asynccontextmanager
async def _engine(where: Where) -> "AsyncIterator[tuple[EngineClient, ModelInfo, str]]":
    """Yield a client, the model it serves, and the name to ask for."""
    from vlmchat.client.api import EngineClient

    if where.url:
        async with EngineClient(where.url, where.api_key) as client:
            models = await client.models()
            if not models:
                raise EngineError(f"The engine at {visible_line(where.url)} serves no model.")
            info = next((item for item in models if item.id == where.model), models[0])
            yield client, info, info.id
        return
    from vlmchat.cli.loading import ready_engine

    async with contextlib.AsyncExitStack() as stack:
        for number, candidate in enumerate(where.local, 1):
            try:
                engine, info = await stack.enter_async_context(ready_engine(candidate))
                break
            except EngineError:
                if number == len(where.local):
                    raise
        try:
            yield engine.client, info, ""
        except EngineError as error:
            if engine.pid is not None:
                raise
            raise EngineError(f"{engine.death_notice()}") from error


# Asking and comparing -----------------------------------------------------------------------------


async def _replay(saved: Saved, where: Where, *, quiet: bool) -> Verdict:
    """Ask, print what comes, and compare; an answer that was stopped is stopped there too."""
    from vlmchat.client.protocol import TextDelta

    text, told = saved.prefix, {}
    if not quiet:
        _print(text)
    async with _engine(where) as (client, info, name):
        stream = client.chat(
            saved.messages,
            saved.sampling,
            name,
            going_on=bool(saved.prefix),
            videos=info.video,
        )
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if not isinstance(event, TextDelta):
                    told = event.provenance
                    continue
                text += event.text
                if not quiet:
                    _print(event.text)
                if not saved.whole and len(text) >= len(saved.text):
                    break
    compared = text if saved.whole else text[: len(saved.text)]
    verdict = Verdict(saved, text, _first_difference(saved.text, compared), info)
    verdict.unmet = list(_unmet(saved, info, told))
    return verdict


def _print(text: str) -> None:
    # A terminal obeys control sequences, a pipe passes them on as they are.
    print(visible(text) if sys.stdout.isatty() else text, end="", flush=True)


def _first_difference(one: str, other: str) -> int | None:
    if one == other:
        return None
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _excerpt(text: str, place: int) -> str:
    if place >= len(text):
        return "at its end"
    more = "…" if place + _SHOWN < len(text) else ""
    return f"“{visible_line(text[place : place + _SHOWN])}{more}”"


def _unmet(saved: Saved, info: "ModelInfo", told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each condition that is not what it was, or cannot be known to be."""
    unknown: list[str] = []
    for name, title in _CONDITIONS.items():
        before = saved.engine.get(name)
        now = told.get(name, info.id if name == "model" else getattr(info, name))
        if before is None:
            unknown.append(title)
        elif name == "adapter" and str(before).rpartition("@")[2] == str(now).rpartition("@")[2]:
            pass  # the same weights, by whatever name
        elif str(before) != str(now):
            yield f"The {title} was {_named(before)}, it is {_named(now)}."
    ways = saved.engine.get("way"), told.get("way")
    if all(ways) and ways[0] != ways[1]:
        yield f"It was computed by {_named(ways[0])}, now by {_named(ways[1])}."
    seed, sampling = saved.engine.get("seed"), saved.sampling
    # Our own engine, which tells its number format, is greedy unless told otherwise.
    greedy = sampling.temperature == 0 or (sampling.temperature is None and bool(info.dtype))
    if seed is not None and sampling.seed != seed:
        yield f"The seed was {seed}, it is {sampling.seed}."
    elif sampling.seed is None and not greedy:
        unknown.append("seed")
    if unknown:
        yield f"What it was made with is not known wholly: no {', no '.join(unknown)}."


def _named(value: object) -> str:
    return f"“{visible_line(str(value))}”" if value not in (None, "") else "none"


def _tell(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(verdict.as_json(), ensure_ascii=False))
        return
    if not verdict.text.endswith("\n"):
        print(flush=True)
    for line in (verdict.sentence(), *verdict.unmet):
        print(line, file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(replay)
