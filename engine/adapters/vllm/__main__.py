"""Runs a script that uses vLLM on marcot: `python -m marcot.engine.adapters.vllm SCRIPT [ARGUMENTS]`.

`-m MODULE` instead of a script runs a module, as with `python`. At the end, a line on stderr says how many prompt
tokens were shared instead of computed.
"""

from __future__ import annotations

import logging
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from .registration import register


def main(arguments: Sequence[str]) -> None:
    """Run the script or module that `arguments` name, with the rest of them as its own.

    Raises:
        InputError: There is no script.
    """
    if list(arguments[:1]) in (["-h"], ["--help"]):
        print(__doc__)
        return
    is_module = list(arguments[:1]) == ["-m"]
    target = arguments[1:] if is_module else arguments
    if not target or not (is_module or Path(target[0]).is_file()):
        raise InputError(f"no such script: {target[0]}" if target else str(__doc__))
    register()
    report = logging.StreamHandler()
    report.setFormatter(logging.Formatter("marcot: %(message)s"))
    logger = logging.getLogger(__package__)
    logger.addHandler(report)
    logger.setLevel(logging.INFO)
    sys.argv[:] = target
    if is_module:
        sys.path.insert(0, "")
        runpy.run_module(target[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(target[0]).resolve().parent))
        runpy.run_path(target[0], run_name="__main__")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
