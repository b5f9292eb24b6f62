"""What `make gpu-tune` tries."""
