"""Text input and output: chat prompts, token ids, streaming, terminals."""
