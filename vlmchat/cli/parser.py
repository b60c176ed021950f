"""The subcommands put together, and the options of the chat itself."""

from pathlib import Path
from typing import Annotated

import typer

from vlmchat import __version__
from vlmchat.cli import (
    adapters,
    ask,
    batch,
    bench,
    chats,
    demo_pictures,
    doctor,
    evaluate,
    find,
    finetune,
    inspect,
    models,
    options,
    prompts,
    replay,
    serve,
    synth,
    watch,
)
from vlmchat.cli.chat import run_chat


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vlmchat {__version__}")
        raise typer.Exit


def chat(
    context: typer.Context,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", "-a", help="A picture to begin with.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", "-r", help="Go on with the last conversation.")
    ] = False,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Plain lines instead of a screen: for screen readers and pipes."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With --plain: figures below each answer.")
    ] = False,
    system: options.System = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    theme: Annotated[str | None, typer.Option(help="Name of a theme.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """Talk with a vision-language model on your own machine.

    Without a command, opens the chat.
    """
    if context.invoked_subcommand is None:
        code = run_chat(
            model=model,
            quant=quant,
            device=device,
            adapter=adapter or None,
            threads=threads,
            native=native,
            engine_url=engine_url,
            api_key=api_key,
            system=system,
            theme=theme,
            attach=tuple(attach or ()),
            resume=resume,
            plain=plain,
            verbose=verbose,
        )
        raise typer.Exit(code)


def build() -> typer.Typer:
    """Return the command line with all its subcommands."""
    app = typer.Typer(
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(chat)
    app.command("chat", hidden=True)(chat)  # what users of other programs type
    for module in (
        ask,
        batch,
        inspect,
        watch,
        find,
        chats,
        prompts,
        replay,
        finetune,
        evaluate,
        serve,
        synth,
        models,
        adapters,
        demo_pictures,
        bench,
        doctor,
    ):
        module.register(app)
    return app
