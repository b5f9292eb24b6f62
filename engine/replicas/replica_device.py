"""The device of a replica."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, Self

import torch

from ..errors import InputError
from ..load_options import parse_device

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def name_devices(device: str, replicas: int | None) -> list[str]:
    """The device of each replica, from the user's `cuda:0,cuda:1`, or one kind for all.

    Raises:
        InputError: The number of devices differs from the number of replicas.
    """
    names = device.split(",")
    if len(names) > 1:
        if replicas not in (None, len(names)):
            raise InputError(f"--replicas {replicas}: --device names {len(names)}; leave --replicas out")
        return names
    count = replicas or 1
    if names[0] not in ("auto", "cpu", "cuda"):
        raise InputError(f"--replicas {count}: name a device for each, such as --device cuda:0,cuda:1")
    if parse_device(names[0]).type == "cpu":
        return ["cpu"] * count
    if count > torch.cuda.device_count():
        raise InputError(
            f"--replicas {count}: this machine has {torch.cuda.device_count()} GPUs; ask for at most that many"
        )
    return [f"cuda:{number}" for number in range(count)]


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
