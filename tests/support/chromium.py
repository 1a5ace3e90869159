"""A headless Chromium, driven through its own protocol over two pipes: no port, no library.

`Tab` has the few things the tests do: open a file, press keys, click, look, and ask the page.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 30.0
KEYS: Mapping[str, tuple[str, int, str]] = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
    "Backspace": ("Backspace", 8, ""),
}
"""Key -> its code, its number and the text it types."""


def found_browser() -> str | None:
    """The browser to test with: BENCH_CHROMIUM, or the first of `NAMES` that is installed."""
    return os.environ.get("BENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser process; it loads nothing but files, and keeps nothing."""

    def __init__(self, path: str, profile: Path) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        arguments = [
            path, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
            "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
            "--force-color-profile=srgb", "--host-resolver-rules=MAP * ~NOTFOUND",
            *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
        ]  # fmt: skip

        def place_pipes() -> None:
            # The browser reads from 3 and writes to 4; both are kept high first, so that neither overwrites the other.
            reading, writing = os.dup2(to_read, 60), os.dup2(to_write, 61)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place_pipes, close_fds=False,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The answer to one command; events that come meanwhile are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = self._read(deadline)
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                answer: dict[str, Any] = found["result"]
                return answer
            self.events.append(found)

    def wait_for(self, event: str, session: str) -> None:
        """Until this event comes, or has come."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(each.get("method") == event and each.get("sessionId") == session for each in self.events):
            self.events.append(self._read(deadline))

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser did not answer")
            more = os.read(self._from, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found


class Tab:
    """One page of the browser."""

    def __init__(self, browser: Chromium, width: int = 1400, height: int = 900, script: bool = True) -> None:
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self._call(f"{domain}.enable")
        self.resize(width, height)
        self.script = script
        if not script:
            self._call("Emulation.setScriptExecutionDisabled", value=True)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self._browser.events.clear()
        self._call("Page.navigate", url=path.as_uri())
        self._browser.wait_for("Page.loadEventFired", self._session)

    def resize(self, width: int, height: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def prefer(self, scheme: str = "", media: str = "") -> None:
        """Dark or light surroundings; `print` for what a printer gets."""
        features = [{"name": "prefers-color-scheme", "value": scheme}] if scheme else []
        self._call("Emulation.setEmulatedMedia", media=media, features=features)

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def all(self, selector: str, what: str = "textContent") -> list[Any]:
        """A property of every element that fits."""
        found: list[Any] = self.ask(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.{what})")
        return found

    def press(self, *keys: str, shift: bool = False) -> None:
        for key in keys:
            code, number, text = KEYS[key] if key in KEYS else (f"Key{key.upper()}", ord(key.upper()), key)
            common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
            self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self._call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self._call("Input.insertText", text=text)

    def place_of(self, selector: str) -> tuple[float, float]:
        """The middle of the first element that fits, after it was brought into sight."""
        x, y = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return float(x), float(y)

    def hover(self, selector: str) -> None:
        x, y = self.place_of(selector)
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        x, y = self.place_of(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def grant(self, *permissions: str) -> None:
        self._browser.call("Browser.grantPermissions", permissions=list(permissions))

    def wait(self, expression: str) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.ask(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never came true: {expression}")
            time.sleep(0.02)

    def count(self, selector: str) -> int:
        """How many elements fit, found without any script of the page."""
        root = self._call("DOM.getDocument", depth=0)["root"]["nodeId"]
        return len(self._call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"])

    def text(self, selector: str) -> str:
        """The source of the first element that fits, with its references to characters resolved."""
        root = self._call("DOM.getDocument", depth=0)["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        return html.unescape(self._call("DOM.getOuterHTML", nodeId=node)["outerHTML"])

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def complaints(self) -> list[str]:
        """Errors of the script, refusals by the page's policy, and requests that failed."""
        self.ask("1")  # so that what was said before has arrived
        return list(_complaints(self._browser.events))


def _complaints(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            yield json.dumps(params["exceptionDetails"])[:500]
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            yield params["entry"]["text"]
        if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            yield json.dumps(params["args"])[:500]
