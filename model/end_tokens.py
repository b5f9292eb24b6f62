"""Tokens that end a turn or a document, by their texts: checkpoints declare some of theirs, and rarely all."""

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
        "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek's, with bars of their own
        # What follows a completion in the middle of a file: padding, or the next file.
        "<|fim_pad|>",
        "<fim-pad>",
        "<fim_pad>",
        "<|fim_repo|>",
        "<|repo_name|>",
        "<fim-repo>",
        "<|file_sep|>",
    }
)
"""The texts at which llama.cpp ends a generation, whatever the token's type is in a GGUF file."""

_END_WORDS = frozenset(
    {"</s>", "<eos>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "[e~[", "<PAD>", "[PAD]", "<REPO>", "<reponame>"}
)
"""Texts at which llama.cpp ends too, but which are ordinary words of some vocabularies (`</s>` of Qwen2's).
They count where the checkpoint types them as anything but ordinary.
"""


def ends_a_turn(token: str, *, ordinary: bool = False) -> bool:
    """Whether a generation ends at `token`; `ordinary` where the checkpoint does not set it apart from other words."""
    return token in _END_TOKENS or (token in _END_WORDS and not ordinary)
