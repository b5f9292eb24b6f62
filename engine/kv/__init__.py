"""The KV cache as a tree."""
