"""``vlmchat`` with a trainer that only plays one: ``python -m tests.cli.finetuning ARGUMENTS``."""

import sys

from vlmchat.cli.main import main
from vlmchat.finetune import process

if __name__ == "__main__":
    process.COMMAND = (sys.executable, "-m", "tests.cli.scripted_trainer")
    main()
