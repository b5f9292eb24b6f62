"""The device of a replica."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, Self

import torch

from ..errors import InputError
from ..load_options import parse_device

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class ReplicaDevice(NamedTuple):
    """A kind of device, and the environment in which a process sees only the chosen one of that kind.

    Attributes:
        kind: `"cpu"` or `"cuda"`.
        variables: Environment variables to set before CUDA starts.
    """

    kind: str
    variables: Mapping[str, str]

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read `auto`, `cpu`, `cuda` or, counted among the GPUs that this process sees, `cuda:1`.

        Raises:
            InputError: There is no such device.
        """
        kind, colon, number = name.partition(":")
        found = parse_device(kind).type
        if not colon:
            return cls(found, {})
        count = torch.cuda.device_count()
        if kind != "cuda" or not (number.isascii() and number.isdecimal()) or int(number) >= count:
            raise InputError(f"device={name!r}: must be auto, cpu, cuda, or one of the {count} GPUs, cuda:0 and so on")
        seen = os.environ.get(_VISIBLE)
        return cls(found, {_VISIBLE: number if seen is None else seen.split(",")[int(number)].strip()})
