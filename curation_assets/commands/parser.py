"""An argument parser that says what is wrong in one line, and lists commands by what people want."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, NoReturn

from curation_assets.commands import WRONG_USE
from resources.text import printable


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        then = " See" if message.endswith("?") else "; see"
        self.exit(WRONG_USE, f"reelhouse: {printable(message)}{then} `{self.prog} --help`\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Nothing unknown is let through, so that the command named in the hint is the one that was asked for."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown argument {unknown[0]}{closest(unknown[0], self._option_string_actions)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = str(action.metavar or action.dest).lower()
            raise argparse.ArgumentError(None, f"no {kind} {value}{closest(value, action.choices)}")


class Version(argparse.Action):
    """Prints the version, which takes longer to look up than most arguments to parse."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"{parser.prog} {version('reelhouse')}")
        parser.exit()


def closest(word: str, known: Iterable[str]) -> str:
    """A question that names the one that `word` may have meant, or nothing."""
    found = get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def listing(commands: Any, groups: Mapping[str, Sequence[str]]) -> str:
    """The commands of a parser under the names of their groups."""
    said = {choice.dest: choice.help for choice in commands._choices_actions}
    return "\n\n".join(
        "\n".join((f"{title}:", *(f"  {name:9} {said[name]}" for name in names))) for title, names in groups.items()
    )
