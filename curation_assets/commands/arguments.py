"""What the arguments of `run` and `plan` mean."""

import argparse
from pathlib import Path

from curation_assets.commands.terminal import source_name, whole_path
from curation_assets.settings import Settings, Source
from resources.object_store import is_url, refusal


def cannot_be_named(source: str) -> str | None:
    """What is wrong with a source on the command line, as far as its name tells."""
    if is_url(source):
        return refusal(source)
    if not Path(source).exists():
        return f"{source}: no such folder or listing; check the path and that it is mounted"
    return None


def named_source(options: argparse.Namespace) -> tuple[str, Source]:
    """The folder or listing, and its name in the tables."""
    source = Source(
        path=whole_path(options.source),
        recursive=not options.not_recursive,
        path_column=options.path_column,
        folder=whole_path(options.folder) if options.folder else None,
    )
    return options.name or source_name(options.source), source


def overridden(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings with the command line's execution choices."""
    if options.shard_size:
        shards = settings.shards.model_copy(update={"videos_per_shard": options.shard_size})
        settings = settings.model_copy(update={"shards": shards})
    if options.workers:
        execution = settings.execution.model_copy(update={"workers": options.workers})
        settings = settings.model_copy(update={"execution": execution})
    return settings
