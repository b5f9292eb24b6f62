"""Texts of tokens that end a turn or a document, because checkpoints rarely declare all of their end tokens."""

from __future__ import annotations

_END_TOKENS = frozenset(
    {
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|calls|>",
        "<|flush|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<turn|>",
        "<|tool_response>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek's, with full-width bars
        # These come after a fill-in-the-middle completion: padding, or the start of the next file.
        "<|fim_pad|>",
        "<fim-pad>",
        "<fim_pad>",
        "<|fim_repo|>",
        "<|repo_name|>",
        "<fim-repo>",
        "<|file_sep|>",
    }
)
"""The texts at which llama.cpp ends a generation, whatever the token's type in the GGUF file."""

_END_WORDS = frozenset(
    {"</s>", "<eos>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "[e~[", "<PAD>", "[PAD]", "<REPO>", "<reponame>"}
)
"""Texts at which llama.cpp also ends, but which are ordinary tokens in some vocabularies (`</s>` in Qwen2's). They end
a generation unless the checkpoint declares them as ordinary.
"""


def ends_a_turn(token: str, *, ordinary: bool = False) -> bool:
    """Whether a generation ends at `token`; `ordinary` says whether the checkpoint declares it as an ordinary token."""
    return token in _END_TOKENS or (token in _END_WORDS and not ordinary)
