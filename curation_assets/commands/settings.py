"""`reelhouse settings`: the settings in force, and where each comes from."""

import argparse
import json
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from pydantic_core import to_jsonable_python

from curation_assets.commands import OK
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.field_help import plain
from curation_assets.origins import DEFAULT, Value, values
from resources.text import without_login

INDENT = "  "
ORIGIN_COLUMN = 60


def run(options: argparse.Namespace) -> int:
    found = [value for value in values() if not options.changed or value.origin != DEFAULT]
    if options.json:
        print_json(json.loads(without_login(json.dumps(to_jsonable_python(tree(found))))))
        return OK
    console = terminal()
    for line in lines(found):
        say(console, line)
    return OK


def tree(found: Iterable[Value]) -> dict[str, Any]:
    """The values by section and name."""
    root: dict[str, Any] = {}
    for value in found:
        *sections, name = value.key
        place = root
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value.value
    return root


def lines(found: Iterable[Value]) -> list[str]:
    """YAML, each value with its origin as a comment."""
    printed: list[str] = []
    above: list[str] = []
    for value in found:
        *sections, name = value.key
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(sections, above, strict=False))))
        printed += [f"{INDENT * depth}{section}:" for depth, section in enumerate(sections) if depth >= shared]
        text = f"{INDENT * len(sections)}{name}: {plain(value.value)}"
        printed.append(f"{text:{ORIGIN_COLUMN}} # {value.origin}")
        above = sections
    return printed
