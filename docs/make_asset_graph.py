"""Makes docs/asset-graph.png: `python -m docs.make_asset_graph`, in the repository's root.

A picture of the asset graph in the UI of an empty home, all groups expanded.
"""

import tempfile
import time
from pathlib import Path

from tests.ui.browser import Browser
from tests.ui.webserver import reelhouse_ui

PICTURE = Path(__file__).with_name("asset-graph.png")
SETTINGS = Path(__file__).parent.parent / "deployments" / "local" / "curation.yaml"
# Without the dots of the background, and with edges that can be followed at a small size.
STYLE = "* { background-image: none !important } svg path { stroke: #a9aec4 !important }"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="reelhouse-") as folder:
        home = Path(folder) / "home"
        with reelhouse_ui(home, SETTINGS) as address, Browser(2400, 2800) as page:
            page.open(f"{address}/asset-groups")
            page.click("Hide navigation")
            page.click(selector="button:has([aria-label=panel_show_right])")  # the list of groups
            page.expand_groups()
            page.wait_for_text("training_manifest")
            time.sleep(3)  # the graph glides into place
            page.evaluate(f"document.head.appendChild(document.createElement('style')).textContent = {STYLE!r}")
            page.screenshot(PICTURE, around="svg foreignObject")


if __name__ == "__main__":
    main()
