"""What the engine and the one who starts it must agree on besides HTTP."""

import ipaddress

TOKEN_VARIABLE = "VLMCHAT_ENGINE_TOKEN"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable that carries the bearer token to the engine (arguments are public); of
several tokens, one a line."""

ENGINE_ENVIRONMENT = {"THP_MEM_ALLOC_ENABLE": "1"}
"""What an engine's process is started with: PyTorch then asks for large pages where it takes much
memory, so that working on pictures is not held up by page faults. Read when PyTorch starts."""


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
