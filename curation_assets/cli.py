"""The `reelhouse` command: its arguments, and what each way of ending means."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from curation_assets.commands import FAILED, OK, WRONG_USE
from curation_assets.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when everything has a result, 1 when something failed, 2 for wrong arguments or settings.

    A command `name` is the function `run` of `commands/<name>.py`, imported when it is asked for.
    """
    options = _parser().parse_args(arguments)
    if options.home:
        os.environ["CURATION_HOME"] = options.home
    if options.settings:
        os.environ["CURATION_SETTINGS"] = str(Path(options.settings).absolute())
    try:
        return int(import_module(f"curation_assets.commands.{options.command}").run(options))
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

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

    ui = commands.add_parser("ui", parents=[shared], help="start the Dagster UI and daemon for a home")
    ui.add_argument("--host", default="127.0.0.1", help="the UI has no authentication: keep it on this machine")
    ui.add_argument("--port", type=_positive, default=3000)

    beautify = commands.add_parser("beautify", parents=[shared], help="turn short prompts into detailed ones")
    beautify.add_argument("prompt", metavar="FILE|PROMPT", help="a .csv or .jsonl file of prompts, or one prompt")
    beautify.add_argument("--column", default="prompt", help="column of the file that holds the prompts")
    beautify.add_argument("--name", type=_name, help="name of the file in the table; default: made from its path")
    beautify.add_argument("--base-url", help="OpenAI-compatible server; default: the settings', else OPENAI_BASE_URL")
    beautify.add_argument("--api-key-env", help="environment variable with its key; default: likewise OPENAI_API_KEY")
    beautify.add_argument("--model", help="the model's name at the server; default: the settings'")
    beautify.add_argument("--retry-failed", action="store_true", help="try prompts again that failed")

    commands.add_parser("settings", parents=[shared], help="print the settings in force")
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


if __name__ == "__main__":
    sys.exit(main())
