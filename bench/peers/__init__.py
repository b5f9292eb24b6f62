"""The engines that the benchmarks compare, one module each; each engine runs in a separate process.

Only `marcot_engine` imports marcot: the others may run in another interpreter, where it is not installed.
"""
