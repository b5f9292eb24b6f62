"""Adapters that let other tools use marcot's engine: one module per tool, importable if that tool is installed."""
