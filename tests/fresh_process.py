"""What importing a room brings with it: a linter cannot see what an import does."""

import subprocess
import sys

_CODE = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    room = importlib.import_module(name)
    for module in pkgutil.walk_packages(room.__path__, f"{name}."):
        importlib.import_module(module.name)
print(*sys.modules)
"""


def modules_after_importing(*rooms: str) -> frozenset[str]:
    """Import every module of these packages in a fresh process, and return what is there then."""
    command = [sys.executable, "-c", _CODE, *rooms]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())
