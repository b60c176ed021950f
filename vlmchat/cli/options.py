"""Options that several subcommands share."""

from typing import Annotated, Literal, TypeAlias

import typer

Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Catalogue name, Hub id (owner/name@revision) or folder."),
]
Quant: TypeAlias = Annotated[
    Literal["auto", "none", "8bit", "4bit"] | None,
    typer.Option(help="Quantization of the local engine."),
]
Device: TypeAlias = Annotated[
    Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Device of the local engine.")
]
Native: TypeAlias = Annotated[
    Literal["auto", "off"] | None,
    typer.Option(help="Compiled code for the local engine, where a C++ compiler is; or off."),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0, max=1024, help="Threads of the local engine; 0 for one a core that is free."
    ),
]
Adapter: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Adapter for the local engine: a name on the shelf, a PEFT folder, or off."),
]
EngineUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Address of any OpenAI-compatible engine, instead of the local one."),
]
ApiKey: TypeAlias = Annotated[
    str | None, typer.Option(envvar="VLMCHAT_API_KEY", help="Key of that engine.")
]
System: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--system", "-s", help="System prompt, or @NAME for one of `vlmchat prompts list`."
    ),
]
Temperature: TypeAlias = Annotated[
    float | None, typer.Option(min=0, max=2, help="0 takes the likeliest token.")
]
MaxNewTokens: TypeAlias = Annotated[int | None, typer.Option(min=1)]
Seed: TypeAlias = Annotated[int | None, typer.Option(min=0)]
RepeatGuard: TypeAlias = Annotated[
    bool | None, typer.Option(help="End an answer that says the same again and again.")
]
