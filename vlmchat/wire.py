"""What the engine and the one who starts it must agree on besides HTTP."""

TOKEN_VARIABLE = "VLMCHAT_ENGINE_TOKEN"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable that carries the bearer token to the engine (arguments are public)."""
