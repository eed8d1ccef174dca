"""`reelhouse ui`: the Dagster UI and daemon for a home."""

import argparse
import os
import socket
import sys
from pathlib import Path

from curation_assets.commands import wrong_use
from curation_assets.commands.arguments import whole_path
from curation_assets.orchestration.headless import instance_folder
from curation_assets.settings import home_path, load_settings

WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"


def run(options: argparse.Namespace) -> int:
    load_settings()
    home = home_path()
    try:  # Dagster would end without a word
        socket.create_server((options.host, options.port)).close()
    except OSError as problem:
        why = str(problem.strerror).partition(" (")[0]
        return wrong_use(f"{options.host}:{options.port}: {why}; name another place with --host and --port")
    os.environ["DAGSTER_HOME"] = str(instance_folder(home))
    os.environ["CURATION_HOME"] = whole_path(home)
    program = str(Path(sys.executable).with_name("dagster"))
    where = ["-h", options.host, "-p", str(options.port)]
    os.execv(program, [program, "dev", "-w", str(WORKSPACE), *where])
