"""The engines that `make bench-cpu` compares, one module each; every one runs in a process of its own.

Only `marcot_engine` imports marcot: the others may run in another interpreter, where it is not installed.
"""
