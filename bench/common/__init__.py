"""What the benchmarks share: recorded trees, workloads, the machine's limits, an engine in a process of its own."""
