"""The attention plan: which queries read which tokens, and how these reads are cut into work for a device."""

from .plan import PAGE_SIZE, Plan, Tile, Tiles, Tiling, WorkItem

__all__ = ["PAGE_SIZE", "Plan", "Tile", "Tiles", "Tiling", "WorkItem"]
