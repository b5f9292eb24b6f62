"""Converts GGUF files for engines that do not read them, once, into the user's cache directory.

This file is also run as a program, by the interpreter that has the engine's converter:
`conversion.py FILE.gguf FORMAT FOLDER`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def converted(gguf: Path, format: str, python: str) -> Path:
    """Return the folder with `gguf` in `format`, converting it if it is not in the cache.

    Args:
        gguf: The model.
        format: A key of `_CONVERTERS`.
        python: The interpreter in which the converter is installed.

    Raises:
        RuntimeError: It is no GGUF file, or the converter failed.
    """
    if gguf.is_dir():
        raise RuntimeError("only GGUF files are converted")
    from marcot.kernels.user_cache import user_cache  # imported here, as the converter's interpreter has no marcot

    cache = user_cache() or Path(tempfile.gettempdir(), "marcot")
    folder = cache / "bench" / f"{gguf.stem}-{gguf.stat().st_size}-{format}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        command = [python, __file__, str(gguf), format, str(partial)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"conversion of {gguf.name} to {format} failed:\n{done.stdout[-2000:]}")
        partial.rename(folder)
    return folder


def _to_ctranslate2(gguf: Path, folder: Path) -> None:
    """Decode to fp32 with transformers and convert with CTranslate2's converter; weights become int8 per row."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config
    del config.quantization_config  # transformers refuses to save a model read from a GGUF file
    plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(loaded.state_dict())
    with tempfile.TemporaryDirectory(dir=folder) as dense:
        plain.save_pretrained(dense)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(dense)
        TransformersConverter(dense).convert(str(folder), quantization="int8", force=True)


def _to_openvino(gguf: Path, folder: Path) -> None:
    """Decode to fp16, load that with OpenVINO GenAI and compress it with nncf; weights become int8 per row.

    OpenVINO GenAI can also read Q8_0 files, but then decoding is 10 % slower.
    """
    import nncf
    import openvino
    import openvino_genai

    with tempfile.TemporaryDirectory(dir=folder) as dense:
        _write_fp16(gguf, Path(dense, "fp16.gguf"))
        openvino_genai.LLMPipeline(Path(dense, "fp16.gguf"), "CPU", enable_save_ov_model=True)
        model = openvino.Core().read_model(Path(dense, "openvino_model.xml"))
        openvino.save_model(
            nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM), folder / "openvino_model.xml"
        )
        for tokenizer in Path(dense).glob("openvino_*tokenizer.*"):
            tokenizer.rename(folder / tokenizer.name)


def _write_fp16(source: Path, target: Path) -> None:
    """Write a copy of `source` with its matrices in fp16."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, entry in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        kind = entry.types[0]
        element = entry.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = int(gguf.LlamaFileType.MOSTLY_F16) if key == "general.file_type" else entry.contents()
        writer.add_key_value(key, value, kind, element)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float16 if len(tensor.shape) == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_CONVERTERS: dict[str, Callable[[Path, Path], None]] = {"ctranslate2": _to_ctranslate2, "openvino": _to_openvino}


if __name__ == "__main__":
    _CONVERTERS[sys.argv[2]](Path(sys.argv[1]), Path(sys.argv[3]))
