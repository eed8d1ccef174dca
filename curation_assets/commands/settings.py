"""`reelhouse settings`: the settings in force."""

import argparse
import json

from curation_assets.commands import OK
from curation_assets.settings import load_settings


def run(_: argparse.Namespace) -> int:
    print(json.dumps(load_settings().model_dump(mode="json"), indent=2))
    return OK
