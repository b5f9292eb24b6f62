"""Fine-tuning on the data of `marcot dataset`."""
