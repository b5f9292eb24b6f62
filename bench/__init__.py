"""What is measured about marcot: a package per subject, run from the repository's root by a target of the Makefile.

`cpu` times decoding beside other engines (`peers`), `search` does so for a whole tree search, `host` times the engine
itself on kernels that answer at once, `gpu` proves and times everything on a GPU, `kernel_report` reads the GPU
kernels' binaries, `attention` counts what attention over trees reads and times its planner, `quality` weighs fast
compute, `runs` watches runs of very many questions, `server` loads, kills and times the server, and `training`
fine-tunes on what a search found.
Results are in `results/`, recorded inputs in `data/`.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
"""The repository."""

RESULTS: Final = ROOT / "bench" / "results"
"""Where reports go."""
