"""What the command line gave, as settings take it."""

from typing import Any

from vlmchat.errors import UsageError


def given(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever options hold
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def engine_overrides(
    *,
    model: str | None,
    quant: str | None,
    device: str | None,
    adapter: str | None,
    url: str | None,
    api_key: str | None,
    threads: int | None = None,
    native: str | None = None,
) -> dict[str, Any]:
    """Return the overrides of the ``engine`` settings.

    Address and model of the configuration belong together: whoever names one of them here and now
    does not mean the other of there.

    Raises:
        UsageError: an engine elsewhere is named, and how a local one is to run.
    """
    if url and (quant or device or adapter or threads or native):
        raise UsageError(
            "--quant, --device, --adapter, --threads and --native are for the local engine only."
        )
    overrides = given(model=model, quant=quant, device=device, adapter=adapter)
    overrides |= given(threads=threads, native=native, url=url, api_key=api_key)
    if url:
        overrides.setdefault("model", None)
    elif model:
        overrides["url"] = None
    return overrides
