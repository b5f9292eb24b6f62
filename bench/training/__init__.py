"""Fine-tuning on what `marcot dataset` makes."""
