"""`marcot models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..options import common as options

if TYPE_CHECKING:
    from ....model import BuiltInModel


def models(
    json: options.JsonOption = False,
    fetch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Download this model to the cache and print its path.")
    ] = None,
) -> None:
    """List the built-in models: size, licence, source, and whether they are in the cache.

    --model also accepts checkpoint folders, .gguf files and hub ids, which are not listed.

    For example:

      marcot models

      marcot models --fetch smollm2-135m
    """
    from ....model import BUILT_IN_MODELS, locate, models_folder
    from ....model.architecture import BY_CLASS
    from ...errors import InputError
    from ...results.json_form import to_line

    if fetch is not None:
        if fetch not in BUILT_IN_MODELS:
            raise InputError(f"no built-in model is called {fetch!r}; use {', '.join(BUILT_IN_MODELS)}")
        print(locate(fetch))
        return
    entries = [_entry(model) for model in BUILT_IN_MODELS.values()]
    for entry in entries:
        if json:
            print(to_line(entry))
            continue
        print(f"{entry['name']:<20}  {entry['size'] / 1e6:>6,.0f} MB  {entry['license']:<11}  {entry['title']}")
        print(f"{'':<20}  from {entry['source']}; {entry['path'] or 'not fetched yet'}")
    if not json:
        print(f"\nFetched models are kept in {models_folder()}")
        families = ", ".join(architecture.models for architecture in BY_CLASS.values())
        print(f"Checkpoint folders, .gguf files and hub ids work for all sizes of {families}")


def _entry(model: BuiltInModel) -> dict[str, Any]:
    from ....model import cached_model

    path = cached_model(model.name, model.size)
    return {
        "name": model.name,
        "title": model.title,
        "summary": model.summary,
        "license": model.license,
        "size": model.size,
        "sha256": model.sha256,
        "source": model.source,
        "cached": path is not None,
        "path": None if path is None else str(path),
    }
