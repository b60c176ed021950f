"""``python -m vlmchat.engine.examining``: what the engine would compute with, as a row of JSON.

For ``vlmchat doctor``, whose own process never imports PyTorch.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass

from vlmchat.engine.native import building
from vlmchat.engine.products import product_dtype
from vlmchat.engine.threads import SystemLoad, fastest, usable_cores


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found.

    Attributes:
        threads: on an idle machine.
        cores: that this process may have.
        products: the numbers in which pictures and prompts are multiplied.
        native: whether the native decode step is compiled.
        reason: why it is not, as a sentence.
    """

    threads: int
    cores: int
    products: str
    native: bool
    reason: str


def examine() -> Examined:
    """Look, which takes a moment; nothing is compiled."""
    cores = usable_cores()
    found = building.library()
    return Examined(
        threads=fastest(cores, SystemLoad()),
        cores=cores,
        products=str(product_dtype()).removeprefix("torch."),
        native=found.library is not None,
        reason=found.reason,
    )


def main() -> int:
    """Print what was found; return the exit code."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print
    print(json.dumps(asdict(examine())), file=lines, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
