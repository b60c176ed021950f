"""The ``vlmchat`` command: where every call begins, and where every error ends."""

import logging
import sys
from typing import NoReturn

from vlmchat.errors import VlmchatError

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        code = _run()
    except VlmchatError as error:
        print(f"vlmchat: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        print(f"vlmchat: {_unforeseen(error)}", file=sys.stderr)
        code = 3
    sys.exit(code)


def _run() -> int:
    if len(sys.argv) == 1:
        # The commonest call is spared the parsing library, so that the screen comes up sooner.
        from vlmchat.cli.chat import run_chat

        return run_chat()
    from vlmchat.cli.parser import build

    build()()
    return 0


def _unforeseen(error: Exception) -> str:
    """Log the traceback and return one sentence that says where it is."""
    from vlmchat import paths

    try:
        log_file = paths.log_dir() / "vlmchat.log"
        logging.basicConfig(filename=log_file, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger(__name__).error("unforeseen", exc_info=error)
        where = f"the details are in {log_file}"
    except OSError:
        where = "and the log folder cannot be written"
    return f"Something unforeseen went wrong ({type(error).__name__}: {error}); {where}."


if __name__ == "__main__":
    main()
