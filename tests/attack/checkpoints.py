"""Load and use mutated checkpoints: each is refused with a typed error, or a working model.

The mutants are GGUF files, and folders of safetensors with their config, tokenizer, templates and shard index
(`tests/fuzzing`). A finding is any other exception, a hang, an abort, numbers that are not finite or not the same the
second time, a message that names no file or cannot be printed, and text on stdout or stderr.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import marcot.engine  # noqa: F401 - first: it decides how OpenMP waits, before torch loads it
from fuzzing.bases import write_bases
from fuzzing.worker import Worker

from .campaign import Campaign


def main() -> None:
    """Run the campaign."""
    parser = Campaign.parser(__doc__, count=3000)
    parser.add_argument("--only", default="*", help="which files are tampered with, such as tokenizer.json (all)")
    campaign = Campaign("mutated checkpoints", parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        bases = Path(folder)
        write_bases(bases)
        worker = Worker(bases, campaign.options.only)
        for trial in campaign:
            outcome = worker.run(f"{campaign.options.seed}:{trial.number}")
            campaign.count(outcome.kind)
            if outcome.finding:
                campaign.finding(outcome.told)
        worker.close()
    campaign.end()


if __name__ == "__main__":
    main()
