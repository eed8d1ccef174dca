"""The report as one HTML file: a release's facts, and a page of plain JavaScript that draws and recomputes them."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.report import facts, gallery
from curation_assets.report.captions import caption_facts
from curation_assets.report.decided import funnel, read_decided
from curation_assets.upkeep.releases import Release, TablesAt, release_before, report_path, versions_of
from resources.delta_store import DeltaStore
from resources.files import Files

_HERE = Path(__file__).parent
_PROGRAM = tuple(_HERE.parents[1] / package for package in ("curation_assets", "resources"))
_SOURCES = (".py", ".html", ".css", ".js")
_SCRIPTS = ("elements.js", "selection.js", "plots.js", "thresholds.js", "gallery.js", "page.js")
HEAD_BYTES = 4096
SAMPLE_COLUMNS = [
    *("clip_id", "source", "type", "width", "height", "frames_per_s", "duration_s"),
    *("text", "original_caption", "caption_tokens", "warnings"),
]


@dataclass(frozen=True)
class Report:
    """Where a release's report lies; `made_of` names what it shows."""

    release: str
    path: str
    made_of: str
    size_bytes: int
    is_new: bool


def write_report(store: DeltaStore, files: Files, release: Release) -> Report:
    """Put the release's report beside its exports; one made of the same is kept.

    Raises InputError where a version that the release pins is gone.
    """
    name, path = release["release"], report_path(release["release"])
    before = release_before(store, release)
    made_of = _made_of(before, release)
    if files.size(path) is not None:
        html = files.read(path)
        is_whole = html.endswith(b"</html>\n")
        if is_whole and f'<meta name="reelhouse-made-of" content="{made_of}">'.encode() in html[:HEAD_BYTES]:
            return Report(name, path, made_of, len(html), is_new=False)
    html = _html(report_data(store, files, release, before), made_of, name)
    files.write(path, html)
    return Report(name, path, made_of, len(html), is_new=True)


def made_report(store: DeltaStore, files: Files, release: Release) -> bytes:
    """The report's bytes, which depend on nothing but the release, the one before it, and the program.

    Raises InputError where a version that the release pins is gone.
    """
    before = release_before(store, release)
    return _html(report_data(store, files, release, before), _made_of(before, release), release["release"])


def report_data(store: DeltaStore, files: Files, release: Release, before: Release | None) -> dict[str, Any]:
    """What the page shows, as JSON can hold it."""
    tables = TablesAt(store, versions_of(release))
    of_samples = _of_samples(tables)
    decided = read_decided(tables)
    positions = gallery.shown(decided)
    return {
        "release": release["release"],
        "made": f"{release['computed_at']:%Y-%m-%d %H:%M} UTC",
        "settings_hash": release["settings_hash"],
        **of_samples,
        "reasons": facts.reason_counts(tables),
        "funnel": [asdict(step) for step in funnel(decided)],
        "settings": facts.settings_facts(release),
        "gaps": facts.gap_facts(release),
        "changes": facts.changes(store, before, release),
        "measures": gallery.measures(decided, positions),
        "clips": gallery.clips(decided, positions, tables, files),
        "marks": gallery.MARKS,
        "all_clips": decided.clips.height,
    }


def _of_samples(tables: TablesAt) -> dict[str, Any]:
    """What needs the samples' texts, which take the most memory, and are let go of before anything else is read."""
    samples = tables.read("training_manifest", SAMPLE_COLUMNS, pl.col("error").is_null()).sort("clip_id")
    return {"facts": facts.set_facts(tables, samples), "captions": caption_facts(tables, samples)}


def _made_of(before: Release | None, release: Release) -> str:
    """Names the release, the one before, and the program that draws them."""
    names = [release["release"], before and before["release"], _program()]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


@cache
def _program() -> str:
    """Names all of the program: what a page says comes from many of its modules."""
    digest = hashlib.sha256(version("vl-convert-python").encode())
    files = (file for package in _PROGRAM for file in package.rglob("*") if file.suffix in _SOURCES)
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _html(data: Mapping[str, Any], made_of: str, title: str) -> bytes:
    html, style = ((_HERE / name).read_text("utf-8") for name in ("page.html", "page.css"))
    script = "".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)
    plots = _plots()
    parts = {
        "title": title,
        "made_of": made_of,
        "policy": _policy(scripts=(plots, script), style=style),
        "style": style,
        "plots": plots,
        "script": script,
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda part: parts[part[1]], html).encode()


@cache
def _plots() -> str:
    """Vega-Lite and Vega, as one script that needs nothing else; bundling takes 1.6 s, so the user's cache keeps it."""
    cache_folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    kept, name = Files(os.path.join(cache_folder, "reelhouse")), f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError):
        return kept.read(name).decode()
    import vl_convert

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    with suppress(OSError):
        kept.write(name, script.encode())
    return script


def _policy(scripts: tuple[str, ...], style: str) -> str:
    """Nothing is fetched, and no script or style runs but those of the page, whatever the data hold."""

    def hashes(texts: tuple[str, ...]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes((style,))}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
