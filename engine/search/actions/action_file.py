"""Action trees from TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ....model.files.fields import MAX_COUNT
from ...errors import InputError
from .guided import Followers, GuidedActions, Kind

_TREE_FIELDS = {"start", "longest", "back_off", "retry", "kinds"}
_KIND_FIELDS = {"openings", "tags", "close", "followers", "max_tokens"}


def read_actions(path: Path) -> GuidedActions:
    r"""Read an action tree.

    ```toml
    start = { thinking = 2, plan = 1 }    # kinds that may come first, and how many children each gets
    longest = 8                           # most actions of a chain
    back_off = 2                          # after an answer known to be wrong, take back two actions ...
    retry = "reflection"                  # ... and go on with this kind

    [kinds.thinking]
    openings = ["", "Let me think about the next step.\n"]
    tags = ["<thinking>", "</thinking>"]  # optional
    close = ["\n\n"]                      # texts that end the action
    followers = { thinking = 1, answer = 1 }
    max_tokens = 256

    [kinds.answer]                        # no followers: ends the chain
    openings = ["Therefore, the answer is "]
    ```

    Raises:
        InputError: The file cannot be read, or is invalid; the message says where.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # not TOML, not UTF-8, or an integer of thousands of digits
        raise InputError(f"{path}: is not TOML: {error}") from error
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply") from None
    _check_fields(path, "the tree", tree, _TREE_FIELDS)
    kinds = tree.get("kinds")
    if not isinstance(kinds, dict) or not kinds:
        raise InputError(f"{path}: has no kinds; declare one as [kinds.NAME]")
    return GuidedActions(
        str(path),
        [_kind(path, name, fields) for name, fields in kinds.items()],
        _followers(path, "start", tree.get("start", {})),
        longest=_integer(path, "longest", tree.get("longest", 8)),
        back_off=_integer(path, "back_off", tree.get("back_off", 0)),
        retry=tree.get("retry"),
    )


def _kind(path: Path, name: str, fields: Any) -> Kind:  # noqa: ANN401  (any TOML value)
    if not isinstance(fields, dict):
        raise InputError(f"{path}: kinds.{name} must be a table")
    where = f"kinds.{name}"
    _check_fields(path, where, fields, _KIND_FIELDS)
    tags = _texts(path, f"{where}.tags", fields.get("tags", []))
    if len(tags) not in (0, 2):
        raise InputError(f"{path}: {where}.tags must be two texts, before and after")
    return Kind(
        name,
        openings=_texts(path, f"{where}.openings", fields.get("openings", [])) or ("",),
        tags=(tags[0], tags[1]) if tags else None,
        close=_texts(path, f"{where}.close", fields.get("close", [])),
        followers=_followers(path, f"{where}.followers", fields.get("followers", {})),
        max_tokens=_integer(path, f"{where}.max_tokens", fields.get("max_tokens", 256)),
    )


def _check_fields(path: Path, where: str, fields: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(fields.keys() - known):
        raise InputError(f"{path}: {where} has unknown keys: {', '.join(unknown)}; use {', '.join(sorted(known))}")


def _texts(path: Path, where: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f"{path}: {where} must be a list of texts")
    return tuple(value)


def _integer(path: Path, where: str, value: Any) -> int:  # noqa: ANN401
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise InputError(f"{path}: {where} must be a whole number, not {value!r:.40}")
    return value


def _followers(path: Path, where: str, value: Any) -> Followers:  # noqa: ANN401
    if not isinstance(value, dict):
        raise InputError(f"{path}: {where} must be a table of kinds and counts, such as {{ thinking = 2 }}")
    return tuple((name, _integer(path, f"{where}.{name}", count)) for name, count in value.items())
