"""The contestants of `make bench-search`, one module each; each runs in a separate process.

Only `marcot_search` imports marcot: the others may run in another interpreter, where it is not installed.
"""
