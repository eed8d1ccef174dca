"""What the benchmarks print and write: a figure beside its limit."""

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as TerminalTable

from resources.workers import available_cores

HEADINGS = ("", "measured", "limit", "the limit is")


@dataclass(frozen=True)
class Line:
    what: str
    measured: str
    limit: str = ""
    limit_is: str = ""


@dataclass
class Section:
    title: str
    lines: list[Line] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, what: str, measured: str, limit: str = "", limit_is: str = "") -> None:
        self.lines.append(Line(what, measured, limit, limit_is))


def seconds_of(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def peak_bytes() -> int:
    """The most memory that this process had, alone: `ru_maxrss` begins with that of the process it was started from."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def machine() -> str:
    """CPU, cores this process may use, and memory."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = re.search(r"model name\s*:\s*(.+)", about)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{named[1] if named else platform.processor()}, {available_cores()} cores, {memory_gib:.0f} GiB"


def cells(line: Line) -> tuple[str, str, str, str]:
    return line.what, line.measured, line.limit, line.limit_is


def show(sections: Sequence[Section]) -> None:
    console = Console(width=150)
    for section in sections:
        table = TerminalTable(*HEADINGS, title=section.title, title_justify="left")
        for line in section.lines:
            table.add_row(*cells(line))
        console.print(table, markup=False)
        for remark in section.remarks:
            console.print(remark, markup=False)


def as_markdown(sections: Sequence[Section]) -> str:
    parts = [
        "# Results",
        f"Written by `make bench`. {machine()}, Python {platform.python_version()}, {date.today().isoformat()}. The "
        "videos are the demo's 16 samples. Frames/s of network engines: [engines.md](engines.md). "
        "10,000 shards: [scale.md](scale.md). Kubernetes, on a real API server: [kubernetes.md](kubernetes.md).",
    ]
    for section in sections:
        lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(cells(line))} |" for line in section.lines]
        parts += [f"## {section.title}", "\n".join(lines), *section.remarks]
    return "\n\n".join(parts) + "\n"
