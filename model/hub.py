"""Checkpoints by Hugging Face hub id."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import DownloadError

WANTED_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "*.jinja")
"""Besides the weights. No pickles, no code."""

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def is_hub_id(name: str) -> bool:
    """True when `name` looks like `organisation/model`."""
    return _HUB_ID.fullmatch(name) is not None


def snapshot(hub_id: str) -> Path:
    """Return the local folder of `hub_id`, downloading what is missing; the user's `HF_*` settings apply.

    Raises:
        DownloadError: `huggingface_hub` is not installed, or the hub cannot be reached or refuses.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    except ImportError as error:
        raise DownloadError(f"{hub_id}: hub ids need huggingface_hub: pip install 'marcot[hub]'") from error
    patterns = [*WANTED_FILES, "*.safetensors", "*.safetensors.index.json"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except GatedRepoError as error:
        raise DownloadError(f"{hub_id}: ask for access on the hub, then run 'hf auth login'") from error
    except RepositoryNotFoundError as error:
        raise DownloadError(f"{hub_id}: the hub has no such model, or it is private ('hf auth login')") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DownloadError(
            f"{hub_id}: the hub cannot be reached ({type(error).__name__}) and no local copy is complete; "
            "go online, or give a folder, a .gguf file or a built-in name instead"
        ) from error
