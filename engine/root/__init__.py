"""A decoding engine for tree search with language models.

Use it as `from marcot import Engine, MCTS, Sampling`. Names in `__all__` are imported on first access, so that
`import marcot` does not import torch. The subpackages are `marcot.engine`, `marcot.model` and `marcot.kernels`.

This folder is installed as the package `marcot` itself, so its imports are absolute: relative imports would not match
the folder's path in the repository.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from marcot import engine

if TYPE_CHECKING:
    from marcot import kernels as kernels
    from marcot import model as model
    from marcot.engine import *  # noqa: F403

    __version__: str

__all__ = ["__version__"]
__all__ += engine.__all__

_PARTS = ("kernels", "model")


if not TYPE_CHECKING:  # a type checker would accept any name otherwise

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version(__name__)
        if name in _PARTS:
            return import_module(f"{__name__}.{name}")
        if name in engine.__all__:
            return getattr(engine, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "engine", *_PARTS])
