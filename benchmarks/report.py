"""What the benchmarks print and write: a figure beside its limit."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table as TerminalTable

from resources.workers import available_cores

HEADINGS = ("", "measured", "limit", "the limit is")


@dataclass
class Section:
    title: str
    headings: tuple[str, ...] = HEADINGS
    lines: list[tuple[str, ...]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    targets: list["Target"] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """A line; cells left out at its end are empty."""
        self.lines.append((*cells, *[""] * (len(self.headings) - len(cells))))


@dataclass(frozen=True)
class Target:
    """What was aimed at and what came of it."""

    work: str
    aim: str
    measured: str
    met: bool


def targets_section(sections: Sequence[Section]) -> Section:
    section = Section("Targets", ("work", "target", "measured", "met"))
    for target in (target for measured in sections for target in measured.targets):
        section.add(target.work, target.aim, target.measured, "yes" if target.met else "**no**")
    return section


def machine() -> str:
    """CPU, cores this process may use, and memory."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = re.search(r"model name\s*:\s*(.+)", about)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{named[1] if named else platform.processor()}, {available_cores()} cores, {memory_gib:.0f} GiB"


def show(sections: Sequence[Section]) -> None:
    console = Console(width=150)
    for section in sections:
        table = TerminalTable(*section.headings, title=section.title, title_justify="left")
        for line in section.lines:
            table.add_row(*line)
        console.print(table, markup=False)
        for remark in section.remarks:
            console.print(remark, markup=False)


def quoted(page: Path, *titles: str) -> list[Section]:
    """Tables of a page that another command measures and writes."""
    parts = {text.partition("\n")[0]: text for text in page.read_text(encoding="utf-8").split("\n## ")}
    sections = []
    for title in titles:
        headings, _, *lines = [
            tuple(cell.strip() for cell in line.strip("|").split("|"))
            for line in parts[title].splitlines()
            if line.startswith("|")
        ]
        section = Section(f"{page.stem.capitalize()}: {title}", headings, lines)
        section.remarks.append(f"Of [{page.name}]({page.name}), which says when and on which machine.")
        sections.append(section)
    return sections


def as_markdown(sections: Sequence[Section], seconds: float) -> str:
    parts = [
        "# Results",
        f"Written by `make bench` in {seconds:.0f} s. {machine()}, Python {platform.python_version()}, "
        f"{date.today().isoformat()}. Frames/s of network engines: [engines.md](engines.md). 10,000 shards: "
        "[scale.md](scale.md). Kubernetes, on a real API server: [kubernetes.md](kubernetes.md). "
        "F1 of each cut detector: [detectors.md](detectors.md). What each filter keeps of the sample videos: "
        "[retention.md](retention.md). Why some targets aren't met: [not_met.md](not_met.md).",
    ]
    for section in sections:
        lines = [f"| {' | '.join(section.headings)} |", "|---" * len(section.headings) + "|"]
        lines += [f"| {' | '.join(line)} |" for line in section.lines]
        parts += [f"## {section.title}", "\n".join(lines), *section.remarks]
    return "\n\n".join(parts) + "\n"
