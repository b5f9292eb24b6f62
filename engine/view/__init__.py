"""Export of a finished search: an HTML page, a Graphviz graph, or JSON with every token."""

from ..search import SearchResult
from .dot import to_dot
from .notebook import to_notebook
from .page import asset, is_page, to_page
from .tree_file import TreeFile
from .tree_json import to_json

__all__ = ["TreeFile", "asset", "is_page", "read_tree", "to_dot", "to_json", "to_notebook", "to_page"]

read_tree = SearchResult.load
"""Read a finished search from a JSON file; the older name of `SearchResult.load`."""
