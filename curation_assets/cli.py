"""The `reelhouse` command."""

import argparse
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from curation_assets.settings import Settings, SettingsError, home_path, load_settings

OK, FAILED, WRONG_USE = 0, 1, 2
WORKSPACE = Path(__file__).parent.parent / "workspace.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when everything has a result, 1 when something failed, 2 for wrong arguments or settings."""
    options = _parser().parse_args(arguments)
    if options.home:
        os.environ["CURATION_HOME"] = options.home
    if options.settings:
        os.environ["CURATION_SETTINGS"] = str(Path(options.settings).absolute())
    try:
        return int(options.command(options))
    except SettingsError as problem:
        print(f"reelhouse: {problem}", file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as problem:
        if not type(problem).__module__.startswith("sqlalchemy"):
            raise
        print(
            f"reelhouse: Dagster's records of the home can't be read or written ({str(problem).splitlines()[0]}); "
            "make room or give access, then run the same command again",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("\nreelhouse: interrupted; finished rows are kept, run the same command again to go on", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", help="where tables and files go; default: CURATION_HOME, else .reelhouse")
    shared.add_argument("--settings", help="settings file; default: CURATION_SETTINGS, else the local deployment's")
    parser = argparse.ArgumentParser("reelhouse", description="Raw videos to training sets, as Dagster assets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", parents=[shared], help="register a source and materialize every asset")
    run.add_argument("source", help="folder of videos, or a .csv, .jsonl or .parquet listing")
    run.add_argument("--name", help="name of the source; default: made from its path")
    run.add_argument("--not-recursive", action="store_true", help="leave sub-folders out")
    run.add_argument("--path-column", default="video_path", help="column of a listing that holds the path")
    run.add_argument("--folder", help="what relative paths of a listing start from; default: its folder")
    run.add_argument("--shard-size", type=_positive, help="videos a shard, for videos not registered yet")
    run.add_argument("--workers", type=_positive, help="worker processes; default: one a core")
    run.add_argument("--until", metavar="ASSET", help="stop after this asset")
    run.add_argument("--retry-failed", action="store_true", help="try items again that failed for their input")
    run.set_defaults(command=_run)

    ui = commands.add_parser("ui", parents=[shared], help="start the Dagster UI and daemon for a home")
    ui.add_argument("--host", default="127.0.0.1", help="the UI has no authentication: keep it on this machine")
    ui.add_argument("--port", type=_positive, default=3000)
    ui.set_defaults(command=_ui)

    beautify = commands.add_parser("beautify", parents=[shared], help="turn short prompts into detailed ones")
    beautify.add_argument("prompt", metavar="FILE|PROMPT", help="a .csv or .jsonl file of prompts, or one prompt")
    beautify.add_argument("--column", default="prompt", help="column of the file that holds the prompts")
    beautify.add_argument("--name", type=_name, help="name of the file in the table; default: made from its path")
    beautify.add_argument("--base-url", help="OpenAI-compatible server; default: the settings', else OPENAI_BASE_URL")
    beautify.add_argument("--api-key-env", help="environment variable with its key; default: likewise OPENAI_API_KEY")
    beautify.add_argument("--model", help="the model's name at the server; default: the settings'")
    beautify.add_argument("--retry-failed", action="store_true", help="try prompts again that failed")
    beautify.set_defaults(command=_beautify)

    settings = commands.add_parser("settings", parents=[shared], help="print the settings in force")
    settings.set_defaults(command=_settings)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,47}", text):
        raise argparse.ArgumentTypeError("use at most 48 of a-z, 0-9, - and _")
    return text


def _run(options: argparse.Namespace) -> int:
    settings = _overridden(load_settings(), options)
    if not Path(options.source).exists():
        return _wrong_use(f"{options.source}: no such folder or listing; check the path and that it is mounted")
    from dagster import DagsterInstance

    from curation_assets import headless, summary
    from resources.delta_store import DeltaStore

    console = _console()
    home = home_path()
    folder = headless.instance_folder(home)
    os.environ["DAGSTER_HOME"] = str(folder)

    with DagsterInstance.from_config(str(folder)) as instance:
        run = headless.HeadlessRun(settings, home, instance)
        if options.until and options.until not in run.assets:
            return _wrong_use(f"--until {options.until}: no such asset; choose one of {', '.join(run.assets)}")
        wanted = run.up_to(options.until) if options.until else set(run.assets)
        name = options.name or source_name(options.source)
        registered = run.register(
            {
                "name": name,
                "path": str(Path(options.source).absolute()),
                "recursive": not options.not_recursive,
                "path_column": options.path_column,
                "folder": str(Path(options.folder).absolute()) if options.folder else None,
            }
        )
        store = DeltaStore(home)
        shards = _shards_of(name, store) if registered else []
        refreshed = [run.shard(shard, wanted, options.retry_failed) for shard in shards]
        if registered and "training_set" in wanted:
            if all(refreshed):
                run.release()
            else:  # tables would be of two settings, or half of a shard
                console.print("No release is made, since a step failed; run the same command again.")

        summary.print_departures(console, settings)
        summary.print_assets(console, run.outcome.materialized)
        failed = [
            *(("step", "", message) for message in run.outcome.step_failures),
            *summary.failures(store, shards, sorted(wanted - {"training_set"}, key=run.assets.index)),
        ]
        if shards and "training_set" in wanted:
            summary.print_reasons(console, store, shards)
            summary.print_samples(console, store)
        if failed:
            summary.print_failures(console, failed)
        _print_next_steps(console, home, options)
        return FAILED if failed else OK


def _console() -> "Console":  # type: ignore[name-defined]  # noqa: F821
    """The terminal, which shows progress from now on."""
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(width=None if sys.stdout.isatty() else 120)
    terminal = logging.getLogger("reelhouse")
    terminal.addHandler(
        RichHandler(console=console, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S")
    )
    terminal.setLevel(logging.INFO)
    return console


def _overridden(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings with the command line's execution choices."""
    if options.shard_size:
        shards = settings.shards.model_copy(update={"videos_per_shard": options.shard_size})
        settings = settings.model_copy(update={"shards": shards})
    if options.workers:
        execution = settings.execution.model_copy(update={"workers": options.workers})
        settings = settings.model_copy(update={"execution": execution})
    return settings


def source_name(source: str, column: str = "") -> str:
    """A name for a source on the command line: its last part, and 4 hex digits of its path and column."""
    path = str(Path(source).absolute())
    slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:40] or "source"
    return f"{slug}-{hashlib.sha256((path + column).encode('utf-8', 'surrogateescape')).hexdigest()[:4]}"


def _shards_of(source: str, store: "DeltaStore") -> list[str]:  # type: ignore[name-defined]  # noqa: F821
    import polars as pl

    from curation_assets.tables import SOURCE_FILES

    rows = store.scan(store.open(SOURCE_FILES.name, SOURCE_FILES.schema)).filter(pl.col("source") == source)
    return list(rows.select("shard").unique().sort("shard").collect().get_column("shard"))


def _print_next_steps(console: "Console", home: str, options: argparse.Namespace) -> None:  # type: ignore[name-defined]  # noqa: F821
    flags = "".join(f" --{name} {value}" for name in ("home", "settings") if (value := getattr(options, name)))
    program = sys.argv[0] if Path(sys.argv[0]).name == "reelhouse" else "reelhouse"
    table = options.until or "clip_selection"
    steps = (
        f"Open the UI:        {program} ui{flags}",
        f"Query with polars:  import polars as pl; print(pl.read_delta({f'{home}/tables/{table}'!r}))",
    )
    console.print("\n".join(steps), markup=False, highlight=False, soft_wrap=True)


def _wrong_use(message: str) -> int:
    print(f"reelhouse: {message}", file=sys.stderr)
    return WRONG_USE


def _beautify(options: argparse.Namespace) -> int:
    from curation_assets.beautify_command import beautify_one, with_server
    from resources.errors import EngineUnavailable, InputError, TransientError

    settings = load_settings()
    section = with_server(
        settings.beautifying, options.base_url, options.api_key_env, options.model, environment=os.environ
    )
    if os.path.isfile(options.prompt) or options.prompt.endswith((".csv", ".jsonl")):
        return _beautify_file(settings.model_copy(update={"beautifying": section}), options)
    try:
        print(beautify_one(options.prompt, section))
    except (EngineUnavailable, InputError, TransientError) as failure:
        print(f"reelhouse: {failure}", file=sys.stderr)
        return FAILED
    return OK


def _beautify_file(settings: Settings, options: argparse.Namespace) -> int:
    from dagster import DagsterInstance

    from curation_assets import headless, summary
    from curation_assets.beautified_prompts.reading import read_prompts
    from resources.delta_store import DeltaStore
    from resources.errors import InputError

    file = os.path.abspath(options.prompt)
    try:
        read_prompts(file, options.column)  # before anything is made
    except InputError as failure:
        return _wrong_use(str(failure))
    console = _console()
    home = home_path()
    folder = headless.instance_folder(home)
    os.environ["DAGSTER_HOME"] = str(folder)
    name = options.name or source_name(file, options.column)
    with DagsterInstance.from_config(str(folder)) as instance:
        run = headless.HeadlessRun(settings, home, instance)
        run.prompts(name, {"path": file, "column": options.column}, options.retry_failed)
        summary.print_assets(console, run.outcome.materialized)
        failed = [
            *(("step", "", message) for message in run.outcome.step_failures),
            *summary.failures(DeltaStore(home), [name], headless.OF_PROMPTS),
        ]
        if failed:
            summary.print_failures(console, failed)
    columns = '"prompt", "beautified_prompt"'
    query = f'pl.scan_delta("{home}/tables/beautified_prompts").filter(shard="{name}").sort("position")'
    console.print("Query with polars: ", f"{query}.select({columns}).collect()", markup=False, soft_wrap=True)
    return FAILED if failed else OK


def _ui(options: argparse.Namespace) -> int:
    load_settings()
    from curation_assets.headless import instance_folder

    home = home_path()
    os.environ["DAGSTER_HOME"] = str(instance_folder(home))
    os.environ["CURATION_HOME"] = home if "://" in home else str(Path(home).absolute())
    program = str(Path(sys.executable).with_name("dagster"))
    where = ["-h", options.host, "-p", str(options.port)]
    os.execv(program, [program, "dev", "-w", str(WORKSPACE), *where])


def _settings(_: argparse.Namespace) -> int:
    print(json.dumps(load_settings().model_dump(mode="json"), indent=2))
    return OK


if __name__ == "__main__":
    sys.exit(main())
