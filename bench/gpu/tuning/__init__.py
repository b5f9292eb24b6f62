"""The cases and candidate shapes that `make gpu-tune` tries."""
