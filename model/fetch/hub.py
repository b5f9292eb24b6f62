"""Downloads checkpoints by Hugging Face hub id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePosixPath

from ..errors import DownloadError

WANTED_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "adapter_config.json",
    "*.jinja",
)
"""Files to download besides the weights: no pickles, no code."""

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_NAME = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[^\s:@]+))?(:(?P<file>[^\s:]+))?")
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True)
class HubName:
    """The name of a checkpoint on the hub: `organisation/model`, `...@revision`, `...:file.gguf`.

    Attributes:
        repo: `organisation/model`.
        revision: A branch, tag or commit; None for the default branch.
        file: A GGUF file of the repository, or the end of its name, such as `"Q4_K_M"`; None for a safetensors folder.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def hub_name(name: str) -> HubName | None:
    """Parse `name`; None if it does not look like a checkpoint on the hub."""
    match = _NAME.fullmatch(name)
    if match is None or (match["file"] is None and match["repo"].endswith(".gguf")):
        return None
    return HubName(match["repo"], match["revision"], match["file"])


def fetch_from_hub(name: HubName) -> Path:
    """Return the local folder or GGUF file of `name`, downloading what is missing; the user's `HF_*` settings apply.

    Raises:
        DownloadError: `huggingface_hub` is not installed, the hub cannot be reached or refuses, or the repository has
            no such file; the message lists the files it has.
    """
    if name.file is not None:
        return _gguf_file(name, name.file)
    folder = _snapshot(name, [*WANTED_FILES, *_WEIGHTS])
    if not any(folder.glob("*.safetensors")) and not (folder / "adapter_config.json").exists():
        _explain_missing_weights(name)
    return folder


def _gguf_file(name: HubName, wanted: str) -> Path:
    if wanted.lower().endswith(".gguf") and not {"..", "/"} & set(PurePosixPath(wanted).parts):
        path = _snapshot(name, [escape(wanted)]) / wanted
        if path.is_file():
            return path
        files = _files(name)
        raise DownloadError(f"{name}: has no file {wanted}; {_offer(name, files)}")
    files = _files(name)
    found = [file for file in _gguf(files) if _is_kind(file, wanted)]
    if len(found) != 1:
        many = f"{wanted} fits {len(found)} files" if found else f"no GGUF file is called {wanted}"
        raise DownloadError(f"{name}: {many}; {_offer(name, files)}")
    return _snapshot(name, [escape(found[0])]) / found[0]


def _is_kind(file: str, wanted: str) -> bool:
    """Whether the name of `file`, without its extension, ends in `wanted`: `model-q4_k_m.gguf` in `Q4_K_M`."""
    stem = _SPLIT.sub("", PurePosixPath(file).stem).lower()
    return stem == wanted.lower() or stem.endswith(tuple(f"{mark}{wanted.lower()}" for mark in "-._"))


def _explain_missing_weights(name: HubName) -> None:
    """Raise an error with what a repository has instead of safetensors; do nothing if it cannot be reached."""
    try:
        files = _files(name)
    except DownloadError:
        return
    if any(file.endswith(".safetensors") for file in files):
        return
    raise DownloadError(f"{name}: has no safetensors; {_offer(name, files)}")


def _offer(name: HubName, files: list[str]) -> str:
    """The files of the repository to use instead."""
    gguf = _gguf(files)
    if gguf:
        return f"its GGUF files: {', '.join(f'{name}:{file}' for file in gguf[:24])}"
    return f"it has no GGUF file either, only {', '.join(sorted(files)[:12]) or 'no files'}"


def _gguf(files: list[str]) -> list[str]:
    return sorted(file for file in files if file.lower().endswith(".gguf"))


def _snapshot(name: HubName, patterns: list[str]) -> Path:
    with _hub_errors(name):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name.repo, revision=name.revision, allow_patterns=patterns))


def _files(name: HubName) -> list[str]:
    """Every file of the repository, or those on this machine if the hub cannot be reached."""
    with _hub_errors(name):
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return list(HfApi().list_repo_files(name.repo, revision=name.revision))
        except HfHubHTTPError:
            raise
        except OSError:
            files = _cached_files(name)
            if not files:
                raise
            return files


def _cached_files(name: HubName) -> list[str]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = [repo for repo in scan_cache_dir().repos if repo.repo_id == name.repo]
    except CacheNotFound:
        return []
    wanted = name.revision or "main"
    return [
        file.file_path.relative_to(revision.snapshot_path).as_posix()
        for repository in repositories
        for revision in repository.revisions
        if wanted in revision.refs or revision.commit_hash == wanted
        for file in revision.files
    ]


@contextmanager
def _hub_errors(name: HubName) -> Iterator[None]:
    """Turn errors of the hub's client into one sentence."""
    try:
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError as error:
            raise DownloadError(f"{name}: ask for access on the hub, then run 'hf auth login'") from error
        except errors.RepositoryNotFoundError as error:
            raise DownloadError(f"{name}: the hub has no such model, or it is private ('hf auth login')") from error
        except errors.RevisionNotFoundError as error:
            raise DownloadError(f"{name}: the model has no branch, tag or commit of that name") from error
        except RuntimeError as error:  # the hub's client needs a home directory, and there is none
            raise DownloadError(f"{name}: {error} Set HF_HOME to a folder for downloads from the hub") from error
        except (errors.HfHubHTTPError, OSError, ValueError) as error:
            raise DownloadError(
                f"{name}: the hub cannot be reached ({type(error).__name__}) and no local copy is complete; "
                "go online, or give a folder, a .gguf file or a built-in name instead"
            ) from error
    except ImportError as error:
        raise DownloadError(f"{name}: hub ids need huggingface_hub: pip install 'marcot[hub]'") from error
