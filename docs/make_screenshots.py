"""Makes the pictures in docs/images: `python -m docs.make_screenshots [NAME ...]`, in the repository's root.

They show the home that `make demo` makes, through a copy of it.
"""

import base64
import io
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from curation_assets import open_tables
from curation_assets.commands.preview import WIDTH, shown, thresholds
from curation_assets.home import open_home
from curation_assets.inspection.thresholds import with_thresholds
from curation_assets.report.page import write_report
from curation_assets.selection.preview import preview as foretell
from curation_assets.settings import load_settings
from curation_assets.upkeep.releases import LATEST, find_release
from tests.ui.browser import Browser
from tests.ui.webserver import reelhouse_ui

ROOT = Path(__file__).parent.parent
IMAGES = Path(__file__).with_name("images")
DEMO = ROOT / ".reelhouse-demo"
SETTINGS = ROOT / "deployments" / "demo" / "curation.yaml"
SHARD = "samples-0000"
# Without the dots of the background, and with edges that can be followed at a small size.
GRAPH_STYLE = "* { background-image: none !important } svg path { stroke: #a9aec4 !important }"
DIALOG = ".bp5-dialog, [role=dialog]"


def graph(address: str, picture: Path) -> None:
    """The asset graph, all groups expanded."""
    with Browser(2400, 2800) as page:
        page.open(f"{address}/asset-groups")
        page.click("Hide navigation")
        page.click(selector="button:has([aria-label=panel_show_right])")  # the list of groups
        page.expand_groups()
        page.wait_for_text("training_manifest")
        time.sleep(3)  # the graph glides into place
        page.evaluate(f"document.head.appendChild(document.createElement('style')).textContent = {GRAPH_STYLE!r}")
        page.screenshot(picture, around="svg foreignObject")


def materialization(address: str, picture: Path) -> None:
    """What the last materialization of `clip_selection` shows."""
    with Browser(1400, 1150) as page:
        page.open(f"{address}/assets/clip_selection?view=partitions&partition={SHARD}")
        page.wait_for_text("contact_sheet")
        page.screenshot(picture)


def contact_sheet(address: str, picture: Path) -> None:
    """The clips that it lets look at."""
    _markdown(address, picture, "contact_sheet")


def histograms(address: str, picture: Path) -> None:
    """The scores that it was decided by."""
    _markdown(address, picture, "scores")


def _markdown(address: str, picture: Path, name: str) -> None:
    with Browser(1400, 1600) as page:
        page.open(f"{address}/assets/clip_selection?view=partitions&partition={SHARD}")
        page.show_markdown(name)
        page.screenshot(picture, around=DIALOG, margin=0)


def report(home: Path, picture: Path) -> None:
    """The newest release's report, a threshold moved."""
    tables = open_home(str(home))
    made = write_report(tables.store, tables.files, find_release(tables.store, LATEST))
    with Browser(1400, 1500) as page:
        page.open((home / made.path).as_uri())
        page.wait_for("document.documentElement?.dataset.drawn")
        page.evaluate("setBound(measures.find(({ name }) => name === 'sharpness'), 'min', 300)")
        time.sleep(1)  # the plots follow
        page.screenshot(picture)


def preview(home: Path, picture: Path) -> None:
    """What a terminal shows of another threshold."""
    now = load_settings(str(SETTINGS))
    then, part = with_thresholds(now, ["selection.motion.max=15"], str(SETTINGS))
    found = foretell(open_tables(home).scan, thresholds(then), thresholds(now))
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(shown(found, part, SETTINGS.name))
    drawn = _without_web_fonts(console.export_svg(title="reelhouse preview --set selection.motion.max=15"))
    with Browser(1260, 1700) as page:
        page.open(f"data:text/html;charset=utf-8;base64,{base64.b64encode(drawn.encode()).decode()}")
        page.screenshot(picture, around="svg", margin=0)


def _without_web_fonts(svg: str) -> str:
    """In the machine's own monospaced font: rich names one to be fetched."""
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")


PICTURES: dict[str, Callable[[str, Path], None]] = {
    "asset-graph": graph,
    "materialization": materialization,
    "contact-sheet": contact_sheet,
    "histograms": histograms,
}


OF_THE_HOME: dict[str, Callable[[Path, Path], None]] = {"preview": preview, "report": report}


def main(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="reelhouse-") as folder:
        home = shutil.copytree(DEMO, Path(folder) / "home")
        with reelhouse_ui(home, SETTINGS) as address:
            for name in names or [*PICTURES, *OF_THE_HOME]:
                if name in OF_THE_HOME:
                    OF_THE_HOME[name](home, IMAGES / f"{name}.png")
                else:
                    PICTURES[name](address, IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
