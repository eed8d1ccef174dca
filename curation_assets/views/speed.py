"""How fast a refresh went, and beside it the work that it can't do without, timed in the same refresh."""

from curation_assets.incremental.committing import Report
from resources.spent import Kind, Spent

LIMITS: dict[Kind, str] = {
    "decoding": "decoding alone",
    "encoding": "the encoder program alone, which reads and decodes the span, too",
    "model": "the models' forward passes alone",
    "server": "the time in which the server owed an answer",
    "reading": "reading the files alone",
}
"""What can bound a refresh, and what its seconds are."""

_SHOWN_FROM_S = 0.005


def speed(report: Report) -> dict[str, float | str]:
    """The figures of what was computed; units taken from staging were so by an earlier run."""
    return rates(report.computed + report.failed - report.recovered, report.seconds, report.spent)


def rates(units: int, seconds: float, spent: Spent) -> dict[str, float | str]:
    """Seconds; where something was computed also rates, the seconds of the work that took most, and where all went.

    `limit_seconds` is what the same work would have taken had the workers done nothing else; `share_of_limit` is how
    near to that the refresh came, 1 at best. Arithmetic has no limit to show.
    """
    shown: dict[str, float | str] = {"seconds": round(seconds, 3)}
    if not units:
        return shown
    amounts = {
        "units_per_second": units,
        "frames_per_second": spent.counts.get("frames", 0),
        "video_hours_per_hour": spent.counts.get("video_s", 0),
        "tokens_per_second": spent.counts.get("tokens", 0),
        "megabytes_per_second": spent.counts.get("bytes", 0) / 1e6,
    }
    shown |= {name: round(amount / max(seconds, 1e-9), 3) for name, amount in amounts.items() if amount}
    limits = {kind: spent.seconds[kind] for kind in LIMITS if kind in spent.seconds}
    if limits:
        bound_by, limit_s = max(limits.items(), key=lambda limit: limit[1])
        shown |= {
            "limit_seconds": round(limit_s, 3),
            "share_of_limit": round(limit_s / max(seconds, 1e-9), 3),
            "limit_is": LIMITS[bound_by],
            "seconds_went_into": _breakdown(seconds, spent),
        }
    return shown


def _breakdown(seconds: float, spent: Spent) -> str:
    """`decoding 3.10 s, starting 0.80 s, the rest 0.12 s, on 2 workers`; a model may run while workers decode."""
    rest = ("the rest", seconds - sum(spent.seconds.values()))
    parts: list[tuple[str, float]] = [*sorted(spent.seconds.items(), key=lambda part: -part[1]), rest]
    words = [f"{what} {part_s:.2f} s" for what, part_s in parts if part_s >= _SHOWN_FROM_S]
    return ", ".join([*words, f"on {spent.workers} workers"] if spent.workers > 1 else words)
