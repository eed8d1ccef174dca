"""Figures of the benchmarks' records times counts: `deployments/kubernetes/SIZING.md`.

    python -m benchmarks.sizing

writes it anew; a test holds it to what is recorded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation_assets.settings import Shards

RECORD = Path(__file__).parent / "scale.md"
RESULTS = Path(__file__).parent / "RESULTS.md"
VIEWS = Path(__file__).parent / "views.md"
TEMPLATE = Path(__file__).parent / "sizing.template.md"
SIZING = Path(__file__).parents[1] / "deployments" / "kubernetes" / "SIZING.md"

# Counts and prices that nobody measured; the template says why.
HOURS = 1_000_000
VIDEO_MINUTES = 6
VIDEOS_A_SHARD = Shards().videos_per_shard
SHARDS_A_HOME = 10_000
CLIPS_AN_HOUR = 500
PIXELS = 1280 * 720
FRAMES_PER_S = 25
TABLES_A_SHARD = 16
PROCESSES_A_RUN = 5  # its own pod, and four scores at once
CORES_A_RUN = 8  # of a step that decodes or encodes
NETWORKS, PICTURES = 5, 9
GPU_H_PRICE, CORE_H_PRICE, TB_PRICE, MILLION_WRITES_PRICE, MILLION_READS_PRICE = 2.5, 0.04, 23, 5, 0.4  # $

# Measured or published elsewhere.
TRANSNET_FRAMES_PER_S = 39  # a thread; docs/decisions.md
LOADED_PER_S = 250  # pictures a core; benchmarks/engines.md
NETWORK_PICTURES_PER_S = 1_000  # assumed
CAPTION_GPU_S = 8 * 70 * 3600 / 1e6  # a clip, on A100 of 80 GB; EasyAnimate, issue 104

MONTH_S = 30 * 24 * 3600
UNITS = {
    "ms": 1e-3,
    "us": 1e-6,
    "h": 3600,
    "core h": 3600,
    "GPU h": 3600,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "GiB": 2**30,
}


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    what: str


def as_markdown(
    about: str, figures: Sequence[Figure], tables: Sequence[Mapping[str, Any]], growth: Sequence[Mapping[str, float]]
) -> str:
    """The record: figures by name, the tables, and what a shard costs in tables of so many."""
    clips = next(table["rows"] for table in tables if table["table"] == "frames")
    per_clip = {kind: sum(table[kind] for table in tables) / clips for kind in ("disk", "memory")}
    totals = [
        Figure("table_bytes", per_clip["disk"], "B/clip", "all tables on disk"),
        Figure("table_memory", per_clip["memory"], "B/clip", "all tables in memory"),
    ]
    return (
        "\n\n".join(
            [
                "# Scale",
                about + " `benchmarks/scale.py` says what was measured and how.",
                _table(
                    ["name", "figure", "unit", "of"],
                    [[figure.name, number(figure.value), figure.unit, figure.what] for figure in (*figures, *totals)],
                ),
                "## Tables\n\nOf a shard, bytes a row.",
                _table(
                    ["table", "rows a clip", "on disk", "in memory"],
                    [
                        [
                            table["table"],
                            number(table["rows"] / clips),
                            number(table["disk"] / table["rows"]),
                            number(table["memory"] / table["rows"]),
                        ]
                        for table in tables
                    ],
                ),
                "## One shard in tables of many\n\nMedians, `clip_selection`, whose refresh opens seven other tables.",
                _table(
                    [
                        "shards",
                        "open ms",
                        "read ms",
                        "commit ms",
                        "unchanged refresh ms",
                        "checkpoint KiB",
                        "commit KiB",
                    ],
                    [
                        [
                            f"{row['shards']:,}",
                            *(number(1000 * row[f"{what}_s"]) for what in ("open", "read", "commit", "refresh")),
                            *(number(row[f"{what}_bytes"] / 1024) for what in ("checkpoint", "commit")),
                        ]
                        for row in growth
                    ],
                ),
            ]
        )
        + "\n"
    )


def number(value: float) -> str:
    """Three significant digits, whole numbers as they are, and no exponent."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - int(f'{value:e}'.partition('e')[2])}f}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])


def recorded() -> tuple[dict[str, float], list[list[float]]]:
    """The figures by name, and the rows of what one shard costs in tables of many."""
    figures, _, growth = RECORD.read_text(encoding="utf-8").split("\n## ")
    return {name: _value(value) for name, value, *_ in _rows(figures)}, [
        list(map(_value, row)) for row in _rows(growth)
    ]


def _rows(text: str) -> list[list[str]]:
    """The cells of a table, below its headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def _value(text: str) -> float:
    return float(text.replace(",", ""))


def sizing() -> str:
    values = {name: _Number(value) for name, value in _values().items()}
    lists = {"growth": _growth(), "costs": _costs(values)}
    return TEMPLATE.read_text(encoding="utf-8").format_map({**values, **lists})


class _Number(float):
    """In the template `{clips}` has two significant digits, `{clips:4}` four, `{table_bytes:3 kB}` three and a unit."""

    def __format__(self, form: str) -> str:
        digits, _, unit = form.partition(" ")
        value = float(f"{self / UNITS.get(unit, 1):.{int(digits or 2) - 1}e}")
        decimals = 0 if value == int(value) else int(digits or 2) - 1 - int(f"{value:e}".partition("e")[2])
        return f"{value:,.{decimals}f} {unit}".rstrip()


def _values() -> dict[str, float]:
    """Everything recorded, and what the counts make of it: seconds, bytes, and core and GPU seconds."""
    s = recorded()[0] | _results() | _views()
    videos = HOURS * 60 / VIDEO_MINUTES
    shards = videos / VIDEOS_A_SHARD
    homes = shards / SHARDS_A_HOME
    clips = HOURS * CLIPS_AN_HOUR
    samples = clips * s["samples_per_clip"]  # and of the demo's selected clips each became a sample
    shard_clips, home_clips, home_samples = clips / shards, clips / homes, samples / homes
    pixel_factor = PIXELS / s["demo_pixels"]

    per_hour = {f"{step}_hour": s[f"{step}_core_s"] / s["demo_hours"] for step in ("scenes", "frames", "clip_files")}
    per_hour["transnet_hour"] = 3600 * FRAMES_PER_S / TRANSNET_FRAMES_PER_S
    per_clip = {
        "technical_clip": s["technical_scores_core_s"] / s["demo_clips"],
        "loader_clip": NETWORKS * PICTURES / LOADED_PER_S,
        "selection_clip": 3 * s["reselect_s"],
    }
    core = {name: each * pixel_factor * HOURS for name, each in per_hour.items() if name != "transnet_hour"}
    core |= {name: each * clips for name, each in per_clip.items()}

    *_, checkpoint_kib, commit_kib = recorded()[1][-1]
    run = {
        kind: s[f"{kind}_per_shard"] + VIDEOS_A_SHARD * s[f"{kind}_per_video"] + shard_clips * s[f"{kind}_per_clip"]
        for kind in ("reads", "writes")
    }
    stored = {
        "source_total": HOURS * s["demo_source_bytes"] / s["demo_hours"],
        "frames_total": clips * s["frames_bytes"],
        "clip_files_total": samples * s["clip_file_bytes"] * pixel_factor,
        "tables_total": clips * s["table_bytes"],
        "exports_total": samples * s["export_bytes"],
    }
    pods, connections = s["steps"] + 1, 2 * PROCESSES_A_RUN
    clip_files = 1 + s["samples_per_clip"]
    maintain_clips = 8 * UNITS["GiB"] / (2 * s["file_memory"] * clip_files)
    release_samples = 16 * UNITS["GiB"] / s["export_memory"]
    registered = 4 * UNITS["GiB"] / s["register_memory"]
    reported_clips = (16 * UNITS["GiB"] - s["report_memory_of_none"]) / s["report_memory"]
    return {
        **s,
        "hours": HOURS,
        "video_minutes": VIDEO_MINUTES,
        "videos": videos,
        "videos_a_shard": VIDEOS_A_SHARD,
        "shards": shards,
        "shards_a_home": SHARDS_A_HOME,
        "shard_hours": HOURS / shards,
        "large_shard_hours": 1000 * VIDEO_MINUTES / 60,
        "homes": homes,
        "clips_an_hour": CLIPS_AN_HOUR,
        "clip_s": 3600 * s["in_clips"] / CLIPS_AN_HOUR,
        "clips": clips,
        "shard_clips": shard_clips,
        "home_clips": home_clips,
        "samples": samples,
        "home_samples": home_samples,
        "pixels": PIXELS,
        "pixel_factor": pixel_factor,
        **per_hour,
        **per_clip,
        "transnet_core": per_hour["transnet_hour"] * HOURS,
        **{f"{name}_core": each for name, each in core.items()},
        "core": sum(core.values()),
        "cores": sum(core.values()) / MONTH_S,
        "runs_at_once": sum(core.values()) / MONTH_S / CORES_A_RUN,
        "caption_gpu_s": CAPTION_GPU_S,
        "caption_gpu": samples * CAPTION_GPU_S,
        "network_gpu": clips * NETWORKS * PICTURES / NETWORK_PICTURES_PER_S,
        "source_hour": s["demo_source_bytes"] / s["demo_hours"],
        **stored,
        "made_total": sum(stored.values()) - stored["source_total"],
        "commit_kib": commit_kib,
        "checkpoint_kib": checkpoint_kib,  # half of it on the way from no shard to all
        "logs_total": TABLES_A_SHARD * shards * 1024 * (commit_kib + checkpoint_kib / 2 / 10),
        **{f"{kind}_a_run": each for kind, each in run.items()},
        **{f"{kind}_total": each * shards for kind, each in run.items()},
        "store_limit": 3600 * min(5500 / run["reads"], 3500 / run["writes"]),
        "postgres_total": s["postgres_bytes"] * shards,
        "postgres_home": s["postgres_bytes"] * SHARDS_A_HOME,
        "connections": connections,
        "connections_of_50": 50 * connections + 50,
        "connection_limit": 100 // connections,
        "export_home_s": home_samples * s["export_s"],
        "export_home_bytes": home_samples * s["export_memory"],
        "report_home_bytes": s["report_memory_of_none"] + home_clips * s["report_memory"],
        "gaps_home_s": home_clips * s["gaps_s"],
        "gaps_home_bytes": max(s["gaps_rows"], shard_clips) * s["gaps_memory"],
        "maintain_home_bytes": home_clips * clip_files * 2 * s["file_memory"],
        "maintain_limit": maintain_clips,
        "maintain_limit_hours": maintain_clips / CLIPS_AN_HOUR,
        "release_limit": release_samples,
        "release_limit_clips": release_samples / s["samples_per_clip"],
        "release_limit_hours": release_samples / s["samples_per_clip"] / CLIPS_AN_HOUR,
        "report_limit": reported_clips,
        "report_limit_hours": reported_clips / CLIPS_AN_HOUR,
        "register_limit": registered,
        "register_limit_hours": registered * VIDEO_MINUTES / 60,
        "gpu_h_price": GPU_H_PRICE,
        "core_h_price": CORE_H_PRICE,
        "tb_price": TB_PRICE,
        "million_writes_price": MILLION_WRITES_PRICE,
        "million_reads_price": MILLION_READS_PRICE,
        "pods": pods,
        "pods_total": pods * shards,
        "job_limit": 5000 // pods,
        "jobs_there": pods * shards * 3600 / MONTH_S,
        "submit_s": SHARDS_A_HOME,
        "commit_limit": 3600 * s["commits_of_8"],
    }


def _results() -> dict[str, float]:
    """Of RESULTS.md: core seconds of the demo's steps, all cores counted while a step ran, and two other figures."""
    text = RESULTS.read_text(encoding="utf-8")

    def figure(pattern: str) -> float:
        found = re.search(pattern, text)
        if found is None:
            raise SystemExit(f"{RESULTS}: nothing like {pattern}")
        return _value(found[1])

    steps = ("scenes", "frames", "technical_scores", "clip_files")
    cores = figure(r"(\d+) cores")
    return {
        **{f"{step}_core_s": cores * figure(rf"\n\| {step} \| ([\d.,]+) s, \d+ units") for step in steps},
        "in_clips": figure(r"\n\| frames in clips \| .* ([\d.]+) of the sources"),
        "tick_s": figure(r"10,000 shards: a tick that requests nothing \| ([\d.]+) s"),
    }


def _views() -> dict[str, float]:
    """Of views.md: what a clip adds to the memory of a report, and what one of no clip takes, by the two largest."""
    reports = VIEWS.read_text(encoding="utf-8").partition("\n## `reelhouse report`\n")[2].partition("\n## ")[0]
    (clips, _, small, _), (more_clips, _, large, _) = (map(_value, row) for row in _rows(reports)[-2:])
    a_clip = 1e6 * (large - small) / (more_clips - clips)
    return {"report_memory": a_clip, "report_memory_of_none": 1e6 * small - clips * a_clip}


def _growth() -> str:
    return "\n".join(
        f"| {shards:,.0f} | {' | '.join(f'{number(ms)} ms' for ms in times)} | {number(checkpoint)} KiB |"
        for shards, *times, checkpoint, _ in recorded()[1]
    )


def _costs(values: Mapping[str, float]) -> str:
    """By what they cost, the dearest first."""
    prices = {
        "captions on GPUs, published for another model": ("caption_gpu", "GPU h", 3600, GPU_H_PRICE),
        "networks on GPUs, assumed": ("network_gpu", "GPU h", 3600, GPU_H_PRICE),
        "CPU, with `content`": ("core", "core h", 3600, CORE_H_PRICE),
        "sources, a month": ("source_total", "TB", 1e12, TB_PRICE),
        "frames, clips, tables and exports, a month": ("made_total", "TB", 1e12, TB_PRICE),
        "writes of the object store": ("writes_total", "million", 1e6, MILLION_WRITES_PRICE),
        "reads of the object store": ("reads_total", "million", 1e6, MILLION_READS_PRICE),
    }
    costs = [
        (price * values[name] / unit, what, f"{_Number(values[name] / unit)} {unit_name}")
        for what, (name, unit_name, unit, price) in prices.items()
    ]
    return "\n".join(
        f"| {rank} | {what} | {amount} | {_Number(cost)} $ |"
        for rank, (cost, what, amount) in enumerate(sorted(costs, reverse=True), 1)
    )


if __name__ == "__main__":
    SIZING.write_text(sizing(), encoding="utf-8")
