"""Why a refresh computes a row again."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from curation_assets.incremental.stage import Stage
from curation_assets.tables import Row

SHOWN_VALUES = 3
SHOWN_CHARACTERS = 40
NEW_INPUT = "new input"
INPUT_CHANGED = "input changed"


def earlier_stages(stage: Stage, notes: Iterable[Mapping[str, Any]]) -> list[Stage]:
    """The stage as the table's commits declare it, newest first."""
    texts = dict.fromkeys(note["declaration"] for note in notes if "declaration" in note)
    return [replace(stage, **json.loads(text)) for text in texts]


def cause(stage: Stage, unit: Row, engine: str, fingerprint: str, old: Sequence[Row], earlier: Sequence[Stage]) -> str:
    """Why the unit's rows of one engine, `old`, don't stand.

    A change of settings, engine or logic is told from one of the input by hashing the unit as `earlier` stages did:
    if one of them gives the fingerprint that the old row has, the input is as it was.
    """
    if not old:
        return NEW_INPUT
    kind = old[0]["error_kind"]
    if kind == "blocked":
        return "what it is made from has a result now"
    if old[0]["input_fingerprint"] == fingerprint:
        return {"transient": "failed for want of a machine", "input": "failed, tried again on request"}.get(
            kind, "its file is gone"
        )
    comparable = [then for then in earlier if engine in then.engines]
    for then in comparable:
        if then.fingerprint(unit, engine) == old[0]["input_fingerprint"]:
            return _difference(then, stage, engine)
    beside = _difference(comparable[0], stage, engine) if comparable else ""
    return f"{INPUT_CHANGED}; {beside}" if beside else INPUT_CHANGED


def _difference(before: Stage, after: Stage, engine: str) -> str:
    then, now = json.loads(before.declaration), json.loads(after.declaration)
    parts = []
    if then["version"] != now["version"]:
        parts.append(f"logic version {then['version']} -> {now['version']}")
    parts += _changes("settings", then["settings"], now["settings"])
    parts += _changes(f"engine {engine}".strip(), then["engines"][engine], now["engines"][engine])
    return "; ".join(parts)


def _changes(what: str, then: Any, now: Any) -> Iterator[str]:
    before, after = dict(_leaves(then)), dict(_leaves(now))
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    shown = [f"{name} {_short(before.get(name))} -> {_short(after.get(name))}" for name in changed[:SHOWN_VALUES]]
    more = [f"{len(changed) - SHOWN_VALUES} more"] if len(changed) > SHOWN_VALUES else []
    if changed:
        yield f"{what}: {', '.join([*shown, *more])}"


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; the items of a list go by their name and engine, else by their number."""
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list):
        items = ((_name(inner) or number, inner) for number, inner in enumerate(value))
    else:
        yield prefix, value
        return
    for name, inner in items:
        yield from _leaves(inner, f"{prefix}.{name}" if prefix else str(name))


def _name(item: Any) -> str:
    names = [item.get("name"), item.get("engine")] if isinstance(item, dict) else []
    return " ".join(name for name in names if name)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
