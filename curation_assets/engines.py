"""What names an engine in fingerprints, and the pool its steps share; both known before the engine is loaded."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from resources.errors import EngineUnavailable

GPU, CHAT = "gpu", "chat"
POOLS: Mapping[str, str] = {"chat": CHAT}
"""Engine -> the concurrency pool of steps that use it: `gpu` where it needs one, `chat` where one server answers all.

A pool's limit is how many such steps run at once, of all runs of an instance. Embedded engines need none.
"""


def pool_of(engines: Iterable[str]) -> str | None:
    """The pool of a step that uses these engines; the scarcer of two."""
    pools = {POOLS[engine] for engine in engines if engine in POOLS}
    return next((pool for pool in (GPU, CHAT) if pool in pools), None)


def identity(of: Callable[[str], Mapping[str, str]], engine: str) -> dict[str, Any]:
    """`model` and `revision` of an engine; definitions load without its package, the step that needs it fails."""
    try:
        return dict(of(engine))
    except EngineUnavailable as missing:
        return {"model": engine, "revision": str(missing)}
