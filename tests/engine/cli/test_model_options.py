"""Options for number formats reach the model from every command that loads one, and are written to the results file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine import Engine


@pytest.fixture(scope="session")
def even(tiny_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint with a tokenizer whose rows can be cut into blocks of 32."""
    return tiny_checkpoint("llama3.2", tokenizer=True, num_hidden_layers=1)


COMMANDS = {
    "search": ["search", "How many?", "--rollouts", 1, "--max-rollout-tokens", 3],
    "generate": ["generate", "How many?", "--max-tokens", 3],
    "score": ["score", "--text", "How many?"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_has_them(marcot: Callable, even: Path, command: list, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    load = Engine.load

    def spy(*arguments: object, **options: object) -> Engine:
        seen.append({name: options[name] for name in ("compute", "weights")})
        engine = load(*arguments, **options)
        assert engine.compute == "fast"
        return engine

    monkeypatch.setattr(Engine, "load", spy)
    ended = marcot(*command, "--model", even, "--json", "--weights", "int8", "--compute", "fast")
    assert ended.code == 0, ended.err
    assert seen == [{"compute": "fast", "weights": "int8"}]


def test_rounded_weights_give_other_numbers(marcot: Callable, even: Path) -> None:
    def logprobs(*options: str) -> list[float]:
        return marcot("score", "--model", even, "--text", "How many clips?", "--json", *options).objects[0]["logprobs"]

    assert len({str(logprobs("--weights", weights)) for weights in ("stored", "bf16", "int8", "int4")}) == 4
    assert logprobs() == logprobs("--weights", "stored", "--compute", "exact")


def test_a_results_file_keeps_to_them(marcot: Callable, even: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [*COMMANDS["search"], "--model", even, "--out", out]
    assert marcot(*command, "--weights", "int4").code == 0
    settings = json.loads(out.read_text(encoding="utf-8"))["settings"]
    assert (settings["compute"], settings["weights"]) == ("auto", "int4")
    ended = marcot(*command, "--compute", "exact")
    assert ended.code == 2
    assert "compute was 'auto', is 'exact', weights was 'int4', is 'stored'" in ended.err


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_has_those_of_the_cache_and_of_determinism(
    marcot: Callable, even: Path, command: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    load = Engine.load

    def spy(*arguments: object, **options: object) -> Engine:
        seen.append((options["kv_dtype"], options["deterministic"]))
        return load(*arguments, **options | {"kv_dtype": "auto", "deterministic": False})

    monkeypatch.setattr(Engine, "load", spy)
    for options in ([], ["--kv-dtype", "fp8", "--deterministic"]):
        ended = marcot(*command, "--model", even, *options)
        assert ended.code == 0, ended.err
    assert seen == [("auto", False), ("fp8", True)]


def test_what_cannot_be_had_is_a_message(marcot: Callable, even: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference supports fp8 but has no deterministic mode; the CPU kernels are the other way round."""
    command = [*COMMANDS["score"], "--model", even]
    monkeypatch.setenv("MARCOT_KERNELS", "reference")
    ended = marcot(*command, "--deterministic")
    assert ended.code != 0
    assert "the reference kernels are not deterministic" in ended.err
    assert marcot(*command, "--kv-dtype", "fp8").code == 0
    monkeypatch.setenv("MARCOT_KERNELS", "cpu")
    assert marcot(*command, "--deterministic").code == 0
    ended = marcot(*command, "--kv-dtype", "fp8")
    assert ended.code == 2
    assert "kv_dtype='fp8': the cpu kernels have no fp8 cache" in ended.err


@pytest.mark.parametrize("command", ["search", "generate"])
def test_graphs_can_be_switched_off(
    marcot: Callable, even: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    load = Engine.load

    def spy(*arguments: object, **options: object) -> Engine:
        seen.append(options["graphs"])
        return load(*arguments, **options)

    monkeypatch.setattr(Engine, "load", spy)
    for options in ([], ["--no-graphs"]):
        ended = marcot(*COMMANDS[command], "--model", even, *options)
        assert ended.code == 0, ended.err
    assert seen == [True, False]
    assert "--no-graphs" in marcot(command, "--help").out
