"""The text of a sample with special tokens written out."""

from __future__ import annotations

from ....model import Tokenizer
from ...completion import Completion
from ...sampling.sampling import Sampling


class SpelledText:
    """Text with special tokens, piece by piece; without the stop at its end unless `include_stop` is set."""

    def __init__(self, tokenizer: Tokenizer, sampling: Sampling) -> None:
        """Start with an empty text."""
        self._stream = tokenizer.stream(keep_special=True)
        self._sampling = sampling
        self._held = ""

    def push(self, drawn: Completion) -> str:
        """Add the next tokens; return the new text that is certain by now."""
        ids = drawn.token_ids.tolist()
        reason = drawn.finish_reason
        if reason in ("eos", "stop") and not self._sampling.include_stop and self._ends_by_token(ids, reason):
            ids = ids[:-1]
        self._held += self._stream.push(*ids) if ids else ""
        if reason is None:
            certain = len(self._held) - max((_overlap(self._held, stop) for stop in self._sampling.stop), default=0)
        else:
            self._held += self._stream.finish()
            certain = len(self._held)
            if reason == "stop" and not self._sampling.include_stop:
                at = self._held.rfind(drawn.stop_reason) if isinstance(drawn.stop_reason, str) else -1
                certain = at if at >= 0 else certain
        text, self._held = self._held[:certain], self._held[certain:]
        return text

    def _ends_by_token(self, ids: list[int], reason: str) -> bool:
        return bool(ids) and (reason == "eos" or ids[-1] in self._sampling.stop_token_ids)


def _overlap(text: str, stop: str) -> int:
    """The length of the longest suffix of `text` that is a prefix of `stop`, or all of `stop`."""
    return next((length for length in range(min(len(text), len(stop)), 0, -1) if text.endswith(stop[:length])), 0)
