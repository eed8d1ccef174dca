"""Where each setting in force comes from: the settings file, with the line, or the default."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curation_assets.settings import Section, load_settings, settings_file

Key = tuple[str, ...]
DEFAULT = "default"


@dataclass(frozen=True)
class Value:
    """A setting in force; `origin` is `default`, or file and line."""

    key: Key
    value: Any
    origin: str


def values(file: str | None = None) -> list[Value]:
    """Every setting in force, section by section. Raises SettingsError as `load_settings` does."""
    settings = load_settings(file)
    path = settings_file(file)
    lines = _lines(path) if path else {}
    shown = path and (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    def origin(key: Key) -> str:
        given = next((key[:length] for length in range(len(key), 0, -1) if key[:length] in lines), None)
        return DEFAULT if given is None else f"{shown}:{lines[given]}"

    return [Value(key, value, origin(key)) for key, value in _leaves(settings, ())]


def _leaves(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    inner = dict(value) if isinstance(value, Section) else value
    if isinstance(inner, dict) and inner:
        for name, one in inner.items():
            yield from _leaves(one, (*key, name))
    else:
        yield key, value


def _lines(path: Path) -> dict[Key, int]:
    """The line of each value that a file gives, but for those of nested mappings."""
    found: dict[Key, int] = {}

    def walk(node: yaml.Node | None, key: Key) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                walk(value, (*key, str(name.value)))
        elif node is not None:
            found[key] = node.start_mark.line + 1

    walk(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), ())
    return found
