"""Which tests `make test` runs in the same process, and in which order."""

from __future__ import annotations

import re
from typing import Final

from support.kernels import kernel_sets
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

_KERNELS, _OF_TWO_SETS = "tests/kernels/", "tests/kernels/cpu/test_widths.py"
_NAMES: Final = "|".join(sorted(map(re.escape, kernel_sets.NAMES), key=len, reverse=True))
_SET: Final = re.compile(rf"[\[-]({_NAMES})(?=[\]-])")

_LONG: Final = (
    "tests/engine/test_real_models.py",
    "tests/engine/cli/test_streams.py",
    "tests/engine/cli/test_real.py",
    "tests/engine/test_deterministic_engine.py",
    "tests/bench/kernel_report/test_kernel_report.py",
)
"""Files with few but long tests. If one process ran them at the end, the others would be idle."""


class Distribution(LoadFileScheduling):
    """Tests of a file go to one process, because they share models; tests of the CPU kernels, by kernel set.

    The first test that uses a set compiles it for a quarter of a minute. If processes shared these files, all would
    compile it at the same time.
    """

    def _split_scope(self, nodeid: str) -> str:
        """The name of the group that `nodeid` belongs to."""
        file, _, test = nodeid.partition("::")
        found = _SET.search(test) if file.startswith(_KERNELS) and file != _OF_TWO_SETS else None
        return found[1] if found else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a process one of the long files, or else the group with the most tests."""
        for file in _LONG:
            if file in self.workqueue:
                self.workqueue.move_to_end(file, last=False)
                break
        super()._assign_work_unit(node)
