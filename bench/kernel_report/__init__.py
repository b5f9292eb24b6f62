"""The binaries of all GPU kernels, compiled without a GPU: `make kernel-report`."""
