"""``vlmchat finetune``: from logs to an adapter, and the jobs that make them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from vlmchat.cli import options
from vlmchat.cli import tuning_options as tuning
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import given as only_given
from vlmchat.errors import UsageError

if TYPE_CHECKING:
    from vlmchat.cli.tuning_data import Wanted
    from vlmchat.cli.tuning_voices import Voice
    from vlmchat.finetune.preparing import Preparation

Device: TypeAlias = Annotated[
    Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Device that is trained on.")
]


@dataclass(frozen=True, slots=True)
class _How:
    """What is done with the plan."""

    name: str | None
    trainer: tuple[str, ...]
    dry_run: bool
    preview: bool
    detach: bool


def finetune(
    logs: tuning.Logs = None,
    out: tuning.Out = None,
    model: options.Model = None,
    device: Device = None,
    threads: tuning.Threads = None,
    dry_run: tuning.DryRun = False,
    detach: tuning.Detach = False,
    as_json: tuning.AsJson = False,
    yes: tuning.Yes = False,
    from_chats: tuning.FromChats = False,
    chat: tuning.Chat = None,
    every_reply: tuning.EveryReply = False,
    outside: tuning.Outside = None,
    preview: tuning.Preview = False,
    list_jobs: tuning.List = False,
    resume: tuning.Resume = None,
    watch: tuning.Watch = None,
    stop: tuning.Stop = None,
    pause: tuning.Pause = None,
    cancel: tuning.Cancel = None,
    preset: tuning.Preset = None,
    *,
    given: Mapping[str, Any],
) -> None:
    """Fine-tune a model on logs, preferences or rated replies; the result is an adapter.

    The training is a process of its own. Ctrl+C asks it to stop and to keep the best adapter so
    far, a second Ctrl+C does not wait for that. Closing the terminal does not end it: --watch JOB
    looks on, --stop JOB ends it. Exit codes: 0 done, 2 bad usage, unreadable data or too little
    memory, 3 the training failed, 130 Ctrl+C.
    """
    from vlmchat.cli import tuning_run
    from vlmchat.cli.tuning_voices import voice

    named = only_given(resume=resume, watch=watch, stop=stop, pause=pause, cancel=cancel)
    trainer = _trainer_options(device, threads)
    fresh = bool(logs or from_chats or chat)
    _check(named, fresh, list_jobs, bool(given or preset or out or model))
    with quiet_endings():
        if list_jobs:
            tuning_run.list_them(as_json=as_json)
            code = 0
        elif named:
            ((what, job),) = named.items()
            code = _on_job(what, job, voice(as_json), trainer, detach)
        else:
            from vlmchat.cli.tuning_data import wanted_from

            wanted = wanted_from(
                tuple(logs or ()), from_chats, tuple(chat or ()), every_reply, outside, yes,
                model, device,
            )  # fmt: skip
            how = _How(out, trainer, dry_run, preview, detach)
            code = _prepared(wanted, preset, given, how, voice(as_json))
        tuning_run.flush()
    raise typer.Exit(code)


def _check(named: Mapping[str, str], fresh: bool, listed: bool, chosen: bool) -> None:
    """Check that one thing is asked for.

    Raises:
        UsageError: it is none or several.
    """
    asked = [f"--{name}" for name in named] + (["--list"] if listed else [])
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} are two things: ask for one.")
    if asked and (fresh or chosen):
        raise UsageError(f"{asked[0]} is about a job that is there: it takes no data or settings.")
    if not asked and not fresh:
        raise UsageError(
            "There is nothing to learn from: vlmchat finetune logs.jsonl, or --from-chats."
        )


def _on_job(what: str, job: str, voice: "Voice", trainer: tuple[str, ...], detach: bool) -> int:
    from vlmchat.cli import tuning_run

    if what == "watch":
        return tuning_run.watch_job(job, voice)
    if what == "resume":
        return tuning_run.resume_job(job, voice, trainer, detach=detach)
    request: Literal["stop", "pause", "cancel"]
    request = "stop" if what == "stop" else "pause" if what == "pause" else "cancel"
    return tuning_run.ask_job(job, request, voice, detach=detach)


def _trainer_options(device: str | None, threads: int | None) -> tuple[str, ...]:
    """Return what the trainer is told besides the job; it finds out for itself what is left out."""
    chosen = () if device in (None, "auto") else ("--device", str(device))
    return (*chosen, *(() if threads is None else ("--threads", str(threads))))


def _prepared(
    wanted: "Wanted",
    preset: str | None,
    given: Mapping[str, Any],
    how: _How,
    voice: "Voice",
) -> int:
    """Read, plan, and unless it is only to be told, run; return the exit code."""
    from vlmchat.cli import tuning_data, tuning_run
    from vlmchat.cli.tuning_options import chosen
    from vlmchat.cli.tuning_voices import note
    from vlmchat.finetune.preparing import Preparation, find_base
    from vlmchat.finetune.reading import ReadOptions

    settings = chosen(preset, given)
    settings.check_device(wanted.device)
    conversations = tuning_data.conversations_of(wanted)
    with tuning_data.fetching() as progress:
        base = find_base(wanted.model, device=wanted.device, progress=progress)
    outside = tuning_data.Outside(wanted)
    read = ReadOptions(outside=outside, unrated=wanted.every_reply)
    with Preparation(base, read) as preparation:
        with tuning_data.counting() as told:
            report = preparation.read(
                wanted.files, conversations, context=settings.context, reading=told
            )
        voice.data(report, base)
        if preset is None and "method" not in given:
            settings = tuning_data.suited(report, settings)
        if how.preview and report.usable:
            _preview(preparation, voice)
        unasked = outside.unasked(report)
        if unasked and not how.dry_run:
            raise UsageError(unasked)
        plan = tuning_data.planned(preparation, settings, wanted, voice, ask=not how.dry_run)
        if how.dry_run:
            if unasked:
                note(unasked)
            return 0
        if not tuning_data.to_be_started(report, wanted):
            raise UsageError("Nothing was started.")
        job = preparation.create(how.name or wanted.title, plan)
    return tuning_run.started(job, how.trainer, voice, detach=how.detach)


def _preview(preparation: "Preparation", voice: "Voice") -> None:
    from vlmchat.talk.finetuning.summary import previewed

    example = preparation.report.examples[0]
    for name, spans in previewed(example, preparation.base.renderer):
        voice.sequence(name, spans)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    if tuning.asked_for():
        app.command()(tuning.with_settings(finetune))
    else:  # only its name and its help are needed
        app.command("finetune", help=finetune.__doc__)(lambda: None)
