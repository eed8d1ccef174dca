"""`reelhouse report`: a release as one HTML file, beside its exports or where you want it."""

import argparse
from pathlib import Path

from curation_assets.commands import OK
from curation_assets.commands.terminal import say, terminal
from curation_assets.home import existing_home
from curation_assets.report.page import made_report, write_report
from curation_assets.settings import home_path
from curation_assets.upkeep.releases import find_release
from resources.files import Files


def run(options: argparse.Namespace) -> int:
    home = existing_home(home_path())
    release = find_release(home.store, options.release)
    if options.to is None:
        place = home.files.url(write_report(home.store, home.files, release).path)
    else:
        target = Path(options.to).absolute()
        Files(str(target.parent)).write(target.name, made_report(home.store, home.files, release))
        place = str(target)
    say(terminal(), f"{release['release']}: {place}")
    return OK
