"""Code that several benchmarks share: recorded trees, workloads, the machine's limits, engines in child processes."""
