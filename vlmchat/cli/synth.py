"""``vlmchat synth``: questions and answers about pictures, made by the model or drawn."""

import typer

from vlmchat.cli import looking, options
from vlmchat.cli import synth_options as of
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides
from vlmchat.cli.overrides import given as only_given
from vlmchat.errors import UsageError

_HOW = "vlmchat synth FOLDER --out data.jsonl, or vlmchat synth --drawn shapes 100 --out data.jsonl"


def synth(
    what: of.What = None,
    out: of.Out = None,
    per_image: of.PerImage = None,
    seed: of.Seed = None,
    detail: looking.Detail = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    as_json: of.AsJson = False,
    kinds: of.Kinds = None,
    temperature: of.Temperature = None,
    samples: of.Samples = None,
    evolve: of.Evolve = None,
    max_new_tokens: of.MostTokens = None,
    min_likelihood: of.MinLikelihood = None,
    min_gain: of.MinGain = None,
    min_agreement: of.MinAgreement = None,
    repeats: of.Repeats = None,
    pair_temperatures: of.PairTemperatures = None,
    pair_adapters: of.PairAdapters = None,
    judge: of.Judge = None,
    prompts: of.Prompts = None,
    write_prompts: of.WritePrompts = None,
    in_flight: of.InFlight = None,
    drawn: of.Drawn = None,
    pictures: of.Pictures = None,
    split: of.Split = None,
    level: of.Level = None,
) -> None:
    """Make a set of questions and answers to learn from, or to be judged by.

    About a folder of pictures by the model itself: it asks, makes its questions harder, and answers
    several times; what is unlikely, disagrees with itself or was there before goes to a second file
    with the reason. Or drawn (--drawn KIND N), with answers that are known. Started again, it goes
    on. Exit codes: 0 done, 2 bad usage, 3 the engine failed, 130 Ctrl+C.
    """
    from vlmchat.cli import synthesis

    local = only_given(quant=quant, device=device, adapter=adapter, threads=threads, native=native)
    engine = {**only_given(model=model, engine_url=engine_url), **local}
    recipe = only_given(
        temperature=temperature, samples=samples, evolve=evolve, most_tokens=max_new_tokens,
        min_likelihood=min_likelihood, min_gain=min_gain, min_agreement=min_agreement,
        repeats=repeats, pair_temperatures=pair_temperatures, pair_adapters=pair_adapters,
        judge=judge,
    )  # fmt: skip
    both = only_given(per_image=per_image, seed=seed)
    of_drawing = only_given(pictures=pictures, split=split, level=level)
    of_making = {**recipe, **only_given(kinds=kinds, prompts=prompts, in_flight=in_flight)}
    of_making |= {**engine, **only_given(detail=detail)}
    with quiet_endings():
        if write_prompts is not None:
            synthesis.write_texts(write_prompts)
            return
        if what is None or out is None:
            raise UsageError(f"Name what to ask about and where to write: {_HOW}.")
        if drawn is not None:
            _refuse(of_making, "what the model makes of pictures, and these are drawn")
            order = {**both, **only_given(split=split, level=level)}
            code = synthesis.draw(what, out, drawn, order, pictures, as_json=as_json)
            raise typer.Exit(code)
        _refuse(of_drawing, "what is drawn, and nothing is without --drawn")
        if engine_url and local:
            raise UsageError(
                "--quant, --device, --adapter, --threads and --native are for the local engine "
                "only."
            )
        overrides = engine_overrides(
            model=model, quant=quant, device=device, adapter=adapter or None,
            url=engine_url, api_key=api_key, threads=threads, native=native,
        )  # fmt: skip
        wanted = synthesis.wanted(
            what, out, {"engine": overrides}, {**both, **recipe},
            kinds=kinds, prompts=prompts, detail=detail, in_flight=in_flight,
        )  # fmt: skip
        raise typer.Exit(synthesis.make(wanted, as_json=as_json))


def _refuse(given: dict[str, object], what: str) -> None:
    """Refuse options that would do nothing.

    Raises:
        UsageError: one is given.
    """
    for name in given:
        option = {"most_tokens": "max-new-tokens"}.get(name, name.replace("_", "-"))
        raise UsageError(f"--{option} is about {what}.")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(synth)
