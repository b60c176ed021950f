"""``python -m vlmchat.trainer JOB``: carry out a job, from its last checkpoint if it has one.

``accelerate launch -m vlmchat.trainer JOB`` is the same run on several GPUs or machines. Nothing
heavy is imported before the job is held, so that whoever started it sees at once that it began.
"""

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path

from vlmchat.errors import VlmchatError
from vlmchat.finetune.job import Job


def main() -> int:
    """Run; 0 if the job came to its end, also where a person ended it."""
    parser = argparse.ArgumentParser(prog="python -m vlmchat.trainer", description=__doc__)
    parser.add_argument("job", type=Path, help="the job's folder")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=0, help="0: one a physical core")
    options = parser.parse_args()
    # Before the libraries are imported: nothing is asked or told over the network, ever.
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    job = Job(options.job.absolute())
    first = os.environ.get("RANK", "0") == "0"
    try:
        job.spec()
        with job.hold() if first else contextlib.nullcontext():
            from vlmchat.trainer.run import run

            return run(job, device=options.device, threads=options.threads)
    except VlmchatError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
