"""A headless Chromium driven through its DevTools protocol, with the clicks and keys of a person."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from websockets.sync.client import connect

# The innermost visible elements that match; `text` is the element's own text, all of its text or its aria-label.
_FIND = """((selector, text) => {
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const own = e => [...e.childNodes].filter(n => n.nodeType === Node.TEXT_NODE).map(n => n.data).join('').trim();
  const says = e => [own(e), e.innerText?.trim(), e.getAttribute('aria-label')].includes(text);
  const found = [...document.querySelectorAll(selector)].filter(e => shown(e) && (text === null || says(e)));
  return found.filter(e => !found.some(other => other !== e && e.contains(other)));
})(%s, %s)"""

_BOX = """((selector, margin) => {
  const boxes = [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect());
  const x = Math.min(...boxes.map(b => b.left)) - margin, y = Math.min(...boxes.map(b => b.top)) - margin;
  const right = Math.max(...boxes.map(b => b.right)), bottom = Math.max(...boxes.map(b => b.bottom));
  return {x, y, width: right - x + margin, height: bottom - y + margin};
})(%s, %d)"""

_SHOW_MARKDOWN = """(name => {
  const row = [...document.querySelectorAll('tr')].find(e => e.firstElementChild?.innerText.trim() === name);
  const cells = [...(row?.querySelectorAll('*') ?? [])];
  const link = cells.find(e => !e.children.length && e.innerText.includes('Markdown'));
  link?.click();
  return Boolean(link);
})(%s)"""


def chromium() -> str | None:
    """The program, where the machine has one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page of a Chromium of its own; use it as a context manager."""

    def __init__(self, width: int = 1600, height: int = 1400) -> None:
        self._size = f"{width},{height}"
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        """What the browser told of its own accord, of the domains that were enabled; read while a call waits."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        program = chromium()
        if program is None:
            raise FileNotFoundError("no chromium on the PATH; on Debian: apt-get install chromium")
        with ExitStack() as opened:
            profile = opened.enter_context(TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True))
            process = subprocess.Popen(
                [
                    program,
                    "--headless=new",
                    "--no-sandbox",  # it shows nothing but our own pages, and root can't use the sandbox
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "--no-first-run",
                    "--remote-debugging-port=0",
                    f"--user-data-dir={profile}",
                    f"--window-size={self._size}",
                    "about:blank",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            opened.callback(process.wait)
            opened.callback(process.kill)
            self._page = opened.enter_context(connect(_page_address(Path(profile)), max_size=None))
            self._open = opened.pop_all()
        # Dagster's page may ask for an e-mail address over what a test clicks, though the instance has `nux` off
        self.call("Page.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source="""localStorage.setItem("communityNux", '"1"')""")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._ids)
        self._page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._page.recv(timeout=60))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            self.events.append(message)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    @property
    def text(self) -> str:
        """What the page shows."""
        return str(self.evaluate("document.body?.innerText ?? ''"))

    def wait_for(self, script: str, limit_s: float = 30) -> Any:
        """The expression's value once it is true; TimeoutError with the page's text when it doesn't come true."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if value := self.evaluate(script):
                return value
            time.sleep(0.2)
        raise TimeoutError(f"after {limit_s} s still not true: {script}\nThe page shows:\n{self.text}")

    def wait_for_text(self, *texts: str, limit_s: float = 30) -> None:
        for text in texts:
            self.wait_for(f"document.body?.innerText.includes({json.dumps(text)})", limit_s)

    def click(self, text: str | None = None, selector: str = "*", limit_s: float = 30) -> None:
        """Click the middle of the first element that matches, when it is there, enabled and at rest."""
        found = _FIND % (json.dumps(selector), json.dumps(text))
        where = f"""(() => {{
          const e = {found}[0];
          if (!e || e.closest('button')?.disabled) return null;
          e.scrollIntoViewIfNeeded();
          const r = e.getBoundingClientRect();
          return {{x: r.x + r.width / 2, y: r.y + r.height / 2}};
        }})()"""
        spot, before = self.wait_for(where, limit_s), None
        while spot != before:  # menus and graphs glide into place
            time.sleep(0.25)
            spot, before = self.wait_for(where, limit_s), spot
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **spot)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **spot)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def type_into(self, field: str, text: str) -> None:
        """Type into the field that shows `field` until it shows the text: a page that is still being built drops it."""
        deadline = time.monotonic() + 30
        while text not in self.text and time.monotonic() < deadline:
            self.click(field)
            self.type(text)
            time.sleep(0.5)
        self.wait_for_text(text, limit_s=1)

    def press(self, key: str, code: str, number: int, modifiers: int = 0) -> None:
        """One key: its name, DOM code and Windows code; modifiers as the protocol counts them (1: Alt)."""
        names = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **names)

    def expand_groups(self) -> None:
        """Open all groups of the asset graph by its shortcut, Alt+E."""
        self.wait_for("document.querySelector('[aria-label=unfold_more]') !== null")
        time.sleep(1)  # the shortcut is deaf while the graph is laid out
        self.press("e", "KeyE", 69, modifiers=1)

    def show_markdown(self, name: str) -> None:
        """Open the Markdown of a metadata entry, and wait for a picture in it."""
        self.wait_for(_SHOW_MARKDOWN % json.dumps(name))
        self.wait_for("[...document.querySelectorAll('[role=dialog] img')].some(e => e.naturalWidth > 0)")

    def screenshot(self, path: Path, around: str | None = None, margin: int = 24) -> None:
        """A PNG of the page, or of what the elements that match the selector `around` cover."""
        clip = {}
        if around:
            box = self.evaluate(_BOX % (json.dumps(around), margin))
            clip = {"clip": {**box, "scale": 1}}
        picture = self.call("Page.captureScreenshot", format="png", **clip)["data"]
        path.write_bytes(base64.b64decode(picture))


def _page_address(profile: Path, limit_s: float = 60) -> str:
    """Where the DevTools protocol of the first page is spoken."""
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if port_file.exists() and (port := port_file.read_text().partition("\n")[0]):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise TimeoutError(f"chromium did not open its DevTools port within {limit_s:.0f} s")
