"""Attention over a tree of KV segments."""
