"""What names an engine in fingerprints, known before the engine is loaded."""

from collections.abc import Callable, Mapping
from typing import Any

from resources.errors import EngineUnavailable


def identity(of: Callable[[str], Mapping[str, str]], engine: str) -> dict[str, Any]:
    """`model` and `revision` of an engine; definitions load without its package, the step that needs it fails."""
    try:
        return dict(of(engine))
    except EngineUnavailable as missing:
        return {"model": engine, "revision": str(missing)}
