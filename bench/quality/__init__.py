"""What fast compute costs in predictions and answers: `make bench-quality`."""
