"""The engine's host side alone, on kernels that answer at once: what stands between tokens and the GPU."""
