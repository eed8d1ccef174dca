"""`reelhouse settings`: the settings in force, and where each comes from."""

import argparse
import json
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from curation_assets.commands import OK
from curation_assets.commands.terminal import say, terminal
from curation_assets.origins import DEFAULT, Value, values
from curation_assets.settings import load_settings
from resources.text import without_login

INDENT = "  "
ORIGIN_COLUMN = 60


def run(options: argparse.Namespace) -> int:
    if options.json:
        print(without_login(json.dumps(load_settings().model_dump(mode="json"), indent=2)))
        return OK
    console = terminal()
    for line in lines(value for value in values() if not options.changed or value.origin != DEFAULT):
        say(console, line)
    return OK


def lines(found: Iterable[Value]) -> list[str]:
    """YAML, each value with its origin as a comment."""
    printed: list[str] = []
    above: list[str] = []
    for value in found:
        *sections, name = value.key
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(sections, above, strict=False))))
        printed += [f"{INDENT * depth}{section}:" for depth, section in enumerate(sections) if depth >= shared]
        text = f"{INDENT * len(sections)}{name}: {_plain(value.value)}"
        printed.append(f"{text:{ORIGIN_COLUMN}} # {value.origin}")
        above = sections
    return printed


def _plain(value: Any) -> str:
    """The value as YAML on one line, without logins in URLs."""
    text = yaml.safe_dump(to_jsonable_python(value), default_flow_style=True, width=10**9, allow_unicode=True)
    return without_login(text.removesuffix("\n").removesuffix("\n..."))
