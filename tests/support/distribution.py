"""Which tests go to the same process, and when, where `make test` runs several."""

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
"""Files with few tests that take long. At the end, with one process at work on them, the others would have nothing."""


class Distribution(LoadFileScheduling):
    """The tests of a file go to one process, as they share models; those of CPU kernels, the tests of a kernel set.

    A set is compiled for a quarter of a minute by the first test that wants it. Processes that run files would all want
    it at the same time.
    """

    def _split_scope(self, nodeid: str) -> str:
        """The name of what `nodeid` is dealt out with."""
        file, _, test = nodeid.partition("::")
        found = _SET.search(test) if file.startswith(_KERNELS) and file != _OF_TWO_SETS else None
        return found[1] if found else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a process what takes long, then what has most tests."""
        for file in _LONG:
            if file in self.workqueue:
                self.workqueue.move_to_end(file, last=False)
                break
        super()._assign_work_unit(node)
