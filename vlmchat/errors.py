"""The errors a person can meet.

Each carries one sentence that says what went wrong, where, and what to do. Whoever catches one at
the edge (command line, chat screen, HTTP app) shows the sentence; tracebacks go to the log.
"""


class VlmchatError(Exception):
    """Something a person can act on; ``str(error)`` is one sentence.

    Attributes:
        exit_code: what the command line exits with when this error ends the program.
        code: the machine-readable name used in the engine's HTTP error bodies.
    """

    exit_code: int = 3
    code: str = "error"


class UsageError(VlmchatError):
    """The request itself cannot be carried out as it was put."""

    exit_code = 2
    code = "invalid_request"


class MediaError(UsageError):
    """A picture or a video cannot be read, or is refused before it is decoded."""

    code = "invalid_media"


class ModelError(VlmchatError):
    """A model cannot be found, fetched, loaded or fitted into memory."""

    code = "model_error"


class EngineError(VlmchatError):
    """The engine answered with an error, broke the protocol, or died."""

    code = "engine_error"


class EngineUnreachableError(EngineError):
    """Nothing answers at the engine's address."""

    code = "engine_unreachable"


class EngineBusyError(EngineError):
    """The engine takes no more requests now, but may soon.

    Attributes:
        after: seconds to wait, as far as it said.
    """

    code = "engine_busy"
    after: float = 0.0


class NoAdaptersError(EngineError):
    """The engine cannot load adapters while it runs."""

    code = "no_adapters"


class NotOurEngineError(EngineError):
    """The engine lacks something that only this program's own engine does."""

    code = "not_supported"


class ContextOverflowError(UsageError):
    """The prompt does not fit into the model's context."""

    code = "context_length_exceeded"
