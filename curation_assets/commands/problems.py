"""What a command says of an exception: one line, with what to do."""

import argparse
import os
import sys
import traceback
from contextlib import suppress

from curation_assets.commands import OK, failed, wrong_use
from curation_assets.settings import SettingsError, home_path
from resources.errors import EngineUnavailable, InputError, TransientError, Unknown
from resources.text import one_line

THEN = "make room, give access or stop what else uses it, then run the same command again: finished rows are kept"
OF_TABLES = ("deltalake", "polars", "pyo3_runtime", "_internal")  # packages, as their exceptions name them


def ended_by(problem: BaseException, options: argparse.Namespace) -> int:
    """Say it on standard error, after the trace where `--debug` asks for one; returns the exit status."""
    if isinstance(problem, BrokenPipeError):  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    if options.debug:
        traceback.print_exception(problem)
    if isinstance(problem, SettingsError | Unknown):
        return wrong_use(str(problem))
    if isinstance(problem, KeyboardInterrupt):
        print(file=sys.stderr)  # after the terminal's ^C
    return failed(_said(problem))


def _said(problem: BaseException) -> str:
    what, package = one_line(str(problem)), type(problem).__module__.partition(".")[0]
    match problem:
        case KeyboardInterrupt():
            return "interrupted; finished rows are kept, run the same command again to go on"
        case InputError() | TransientError() | EngineUnavailable():
            return str(problem)
        case _ if package == "sqlalchemy":
            what = str(problem).splitlines()[0]  # the others are SQL
            return f"Dagster's records of the home can't be read or written ({what}); {THEN}"
        case _ if (package in OF_TABLES or isinstance(problem, FileNotFoundError)) and (damage := _damage()):
            return f"a table can't be read: {damage}; put its folder back from a copy, see docs/operations.md"
        case OSError():
            return f"{f'{problem.filename}: {problem.strerror}' if problem.filename else what}; {THEN}"
    return f"unexpected {type(problem).__name__}: {what}; run again with --debug and report it"


def _damage() -> str:
    """What is wrong with the tables of a local home; nothing where no table is to blame."""
    from curation_assets.upkeep.damage import damages
    from resources.delta_store import DeltaStore
    from resources.files import Files

    with suppress(Exception):
        files = Files(home_path())
        first, *more = damages(DeltaStore(files.root), files) if files.is_local else [""]
        return f"{first}, and {len(more)} more tables" if more else first
    return ""
