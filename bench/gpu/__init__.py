"""Everything that needs a GPU to be known: `make gpu-check`."""
