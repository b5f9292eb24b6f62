"""Text in and out: chat templates, token ids, terminals."""
