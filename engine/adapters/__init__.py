"""Interfaces of other tools, on marcot's engine: one file for each, imported by name when that tool is installed."""
