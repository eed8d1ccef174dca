"""A report in a browser, used as a person uses it."""

import json
from pathlib import Path
from typing import Any

from tests.ui.browser import Browser

WATCH = """window.failures = []
addEventListener('error', event => failures.push(event.message))
addEventListener('unhandledrejection', event => failures.push(String(event.reason)))
addEventListener('securitypolicyviolation', event => failures.push(`${event.violatedDirective} ${event.blockedURI}`))"""


class ReportPage(Browser):
    def __enter__(self) -> "ReportPage":
        super().__enter__()
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        return self

    def show(self, file: Path) -> None:
        self.events.clear()
        self.open(file.as_uri())
        self.wait_for("document.documentElement?.dataset.drawn")

    def complaints(self) -> list[Any]:
        """Errors of scripts, of the page's policy and of the console, and dialogs."""
        told = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening")
        return [*self.evaluate("failures"), *(event for event in self.events if event["method"] in told)]

    def requests(self) -> list[str]:
        sent = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def scheme(self, name: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def text_of(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def choose(self, label: str, option: str) -> None:
        """An option of the drop-down field of that label."""
        self.evaluate(
            f"""(() => {{
              const field = document.getElementById({json.dumps(label)});
              field.value = [...field.options].find(option => option.text === {json.dumps(option)}).value;
              field.dispatchEvent(new Event('change'));
            }})()"""
        )

    def search(self, text: str) -> None:
        self.evaluate("document.getElementById('search').focus(); document.getElementById('search').select()")
        self.press("Backspace", "Backspace", 8)
        self.type(text)

    def found(self, text: str) -> None:
        """Wait until so many clips are shown."""
        self.wait_for(f"document.getElementById('found').textContent === {json.dumps(text)}")

    def drag(self, selector: str, to_share: float) -> None:
        """A line from where it is to this share of the plot's width."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.evaluate(
            f"""(() => {{
              const line = document.querySelector({json.dumps(selector)});
              const [a, b] = [line.getBoundingClientRect(), line.parentElement.getBoundingClientRect()];
              return {{x: a.x + a.width / 2, y: a.y + a.height / 2, left: b.left, width: b.width}};
            }})()"""
        )
        to = box["left"] + to_share * box["width"]
        steps = [(box["x"] + (to - box["x"]) * part, box["y"]) for part in (0, 0.3, 0.7, 1)]
        for kind, (x, y) in zip(("mousePressed", "mouseMoved", "mouseMoved", "mouseMoved"), steps, strict=True):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=to, y=box["y"], button="left", clickCount=1)
