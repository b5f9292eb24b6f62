"""Several models side by side on a few prompts."""
