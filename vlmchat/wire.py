"""What the engine and the one who starts it must agree on besides HTTP."""

TOKEN_VARIABLE = "VLMCHAT_ENGINE_TOKEN"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable that carries the bearer token to the engine (arguments are public)."""

ENGINE_ENVIRONMENT = {"THP_MEM_ALLOC_ENABLE": "1"}
"""What an engine's process is started with: PyTorch then asks for large pages where it takes much
memory, so that working on pictures is not held up by page faults. Read when PyTorch starts."""
