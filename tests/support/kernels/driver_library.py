"""The CPU kernels in another process: for another instruction set, or under sanitizers."""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from marcot.kernels.cpu.build import _FLAGS, SOURCES
from marcot.kernels.cpu.library import _SIGNATURES, Argument
from torch import Tensor

DRIVER = Path(__file__).parents[2] / "kernels" / "driver.cpp"

_SECTION_BYTES = 32


def built_driver(compiler: str, flags: Sequence[str], folder: Path) -> Path:
    """The driver program with the kernels in it; compiled to a file in `folder` unless that exists."""
    command = [compiler, *_FLAGS, *flags, "-fopenmp", f"-I{SOURCES}", str(DRIVER)]
    digest = hashlib.sha256(repr(command).encode())
    for file in (DRIVER, *sorted(file for file in SOURCES.rglob("*") if file.is_file())):
        digest.update(file.read_bytes())
    program = folder / f"driver-{digest.hexdigest()[:20]}"
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            fresh = Path(workshop, program.name)
            done = subprocess.run([*command, "-o", str(fresh)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            fresh.replace(program)
    return program


class DriverLibrary:
    """Like `marcot.kernels.cpu.Library`, but a driver process makes every call, with copies of all memory."""

    def __init__(self, command: Sequence[str | Path], **environment: str) -> None:
        """Start `command`, which runs a driver. If it ends, the next call starts another."""
        self._command, self._environment = command, os.environ | environment
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment,
        )

    def call(self, name: str, *arguments: Argument) -> int:
        """Call `marcot_<name>`. See `Library.call`.

        Raises:
            AssertionError: The process has ended; the message is its output, such as a sanitizer's report.
        """
        assert len(arguments) == len(_SIGNATURES[name])
        request = [bytes([len(name)]), name.encode()]
        for kind, value in zip(_SIGNATURES[name], arguments, strict=True):
            if kind != "p":
                request.append(struct.pack("<q" if kind == "i" else "<d", value))
            elif value is None:
                request.append(struct.pack("<q", -1))
            else:
                assert isinstance(value, Tensor)
                begin, size = _memory(value)
                request += (struct.pack("<q", size), ctypes.string_at(begin, size))
                pointers = list(self._pointers(arguments)) if name == "run_layers" and value is arguments[0] else []
                request.append(struct.pack("<q", len(pointers)))
                for offset, memory in pointers:
                    request += (struct.pack("<qq", offset, len(memory)), memory)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"".join(request))
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        result = self._integer()
        while (number := self._integer()) >= 0:
            written = arguments[number]
            assert isinstance(written, Tensor)
            begin, size = _memory(written)
            ctypes.memmove(begin, self._answer(size), size)
        return result

    def _integer(self) -> int:
        value: int = struct.unpack("<q", self._answer(8))[0]
        return value

    def _answer(self, size: int) -> bytes:
        assert self._process.stdout is not None
        answer = self._process.stdout.read(size)
        if len(answer) < size:
            self._fail()
        return answer

    def _fail(self) -> None:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        self._start()
        raise AssertionError(f"the driver ended with {code}:\n{said}")

    def _pointers(self, arguments: Sequence[Argument]) -> Iterator[tuple[int, bytes]]:
        """The pointers in each `Layer` (`src/layers/layers.h`): their places, and the tensors that they point to."""
        table, _, _, hidden, _, kv_heads, group, head_dim, *_ = arguments
        assert isinstance(table, Tensor)
        for number, row in enumerate(table.tolist()):
            vectors = (hidden, (group + 2) * kv_heads * head_dim, hidden, head_dim, head_dim)
            pieces = {at: size * 4 for at, size in enumerate(vectors) if row[at]}
            for at in range(len(vectors) + 1, len(row), 4):
                count, columns = row[at + 2 : at + 4]
                pieces[at + 1] = count * _SECTION_BYTES
                format, rows, offset, _ = struct.unpack("<4q", ctypes.string_at(row[at + 1], count * 32)[-32:])
                pieces[at] = offset + self.call("packed_bytes", format, rows, columns)
            for at, size in pieces.items():
                yield (number * len(row) + at) * 8, ctypes.string_at(row[at], size)


def _memory(tensor: Tensor) -> tuple[int, int]:
    """Address and size of the memory from a tensor's first element to its last."""
    elements = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), (elements if tensor.numel() else 0) * tensor.itemsize
