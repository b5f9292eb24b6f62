"""CTranslate2 with int8 weights and activations. The model is converted from the GGUF file that marcot loads."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import ctranslate2

from .peer import TOP_K, Peer


class CTranslate2Int8(Peer):
    """CTranslate2. The prefix is a static prompt, computed once and copied to every row of the batch (not timed).

    It returns only the log-probability of the drawn token; for the five best ones it would have to return all logits.
    """

    def __init__(self, model: Path, threads: int) -> None:
        self._generator = ctranslate2.Generator(str(model), compute_type="int8", intra_threads=threads)
        self._vocabulary = json.loads((model / "vocabulary.json").read_text())

    def prefill(self, ids: list[int]) -> None:
        self._generator.generate_batch(
            [self._tokens(ids)], max_length=1, include_prompt_in_result=False, sampling_topk=TOP_K
        )

    def fork(self, prefix: list[int], branches: int) -> None:
        *self._prefix, last = self._tokens(prefix)
        self._last = [[last]] * branches

    def start(self, passes: int) -> None:
        """Run the generation in a thread up to the first token of the last row, and pause it there."""
        self._passes = passes
        reached, self._release = Event(), Event()

        def hold(result: ctranslate2.GenerationStepResult) -> bool:
            if result.step == 0 and result.batch_id == len(self._last) - 1:
                reached.set()
                self._release.wait()
            return False

        self._running = self._generator.generate_batch(
            self._last,
            static_prompt=self._prefix,
            include_prompt_in_result=False,
            min_length=passes + 1,
            max_length=passes + 1,
            sampling_topk=TOP_K,
            return_scores=True,
            callback=hold,
            asynchronous=True,
        )
        reached.wait()

    def decode(self) -> None:
        self._release.set()
        for row in self._running:
            assert len(row.result().sequences_ids[0]) == self._passes + 1

    def _tokens(self, ids: list[int]) -> list[str]:
        return [self._vocabulary[id] for id in ids]
