# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Chromium without a screen, spoken to over its own pipe (DevTools protocol): no port, no driver, no package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from .bed import Bed, need_tools

_ANSWER_S = 30.0
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class PageError(Exception):
    """The page's script, or the browser, refused."""


class Browser:
    """One Chromium with an empty profile; `page` opens a file in a tab of its own."""

    name = "browser"

    def __init__(self, bed: Bed) -> None:
        need_tools("chromium", "bash")
        self.bed = bed
        self.folder = bed.new_folder("web")
        self._waiting: list[dict[str, Any]] = []
        self._rest, self._count = b"", 0
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads from 3 and writes to 4.
        moved = f'exec 3<&{theirs_in} 4>&{theirs_out} && exec chromium "$@"'
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", moved, "chromium", *_FLAGS, f"--user-data-dir={self.folder}/profile"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(theirs_in, theirs_out),
                env={**os.environ, "HOME": str(self.folder)}, start_new_session=True,
            )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        bed.adopt(self)

    def page(
        self, file: Path, *, width: int = 1200, height: int = 900, dark: bool = False, touch: bool = False
    ) -> Page:
        """Open a file; comes back when it is loaded."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.ask(f"{domain}.enable")
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", {"features": [theme]})
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if touch else 1, "mobile": touch}
        page.ask("Emulation.setDeviceMetricsOverride", size)
        page.ask("Page.navigate", {"url": file.resolve().as_uri()})
        page.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
        return page

    def ask(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Call a method of the protocol and return its result. Raises PageError."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _ANSWER_S
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._waiting.append(answer)

    def events(self, session: str) -> list[dict[str, Any]]:
        """What the tab told of itself so far."""
        return [event for event in self._waiting if event.get("sessionId") == session]

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                tail = (self.folder / "log").read_text(errors="replace")[-500:]
                raise PageError(f"Chromium gave no answer: {tail}")
            self._rest += data
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def close(self) -> None:
        """End it, with every process of its own session."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(timeout=120)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.bed.release(self)


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def ask(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a method of the protocol for this tab."""
        return self._browser.ask(method, parameters, self._session)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to. Raises PageError with what it threw."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", asked)
        if "exceptionDetails" in answer:
            said = answer["exceptionDetails"]
            raise PageError(said.get("exception", {}).get("description") or said["text"])
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 150.0) -> None:
        """Wait until the expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.value(expression):
            if time.monotonic() > deadline:
                raise PageError(f"never true: {expression}")
            time.sleep(0.05)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """x, y, width and height of an element in the window, scrolled to where it is seen."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y, width, height = self.value(
            f"(() => {{ const b = {found}.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }})()"
        )
        return x, y, width, height

    def mouse(self, kind: str, x: float, y: float, *, held: bool = False, clicks: int = 0) -> None:
        """`mouseMoved`, `mousePressed` or `mouseReleased` at a place of the window."""
        button = "left" if held or kind != "mouseMoved" else "none"
        event = {"type": kind, "x": x, "y": y, "button": button, "buttons": int(held), "clickCount": clicks}
        self.ask("Input.dispatchMouseEvent", event)

    def click(self, selector: str, clicks: int = 1) -> None:
        """Click into the middle of an element."""
        x, y, width, height = self.box(selector)
        at = (x + width / 2, y + height / 2)
        self.mouse("mouseMoved", *at)
        for number in range(1, clicks + 1):
            self.mouse("mousePressed", *at, held=True, clicks=number)
            self.mouse("mouseReleased", *at, clicks=number)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place, move, and let go at another."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, held=True, clicks=1)
        for part in range(1, 6):
            self.mouse("mouseMoved", *(a + (b - a) * part / 5 for a, b in zip(start, end, strict=True)), held=True)
        self.mouse("mouseReleased", *end, clicks=1)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key})

    def screenshot(self, path: Path) -> Path:
        """What the window shows, as PNG."""
        self.ask("Page.bringToFront")  # a tab that nobody sees is not painted
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", {"format": "png"})["data"]))
        return path

    def requests(self) -> list[str]:
        """Every address that the page asked for."""
        self.value("0")
        events = self._browser.events(self._session)
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors of scripts, and what the browser itself refused or warned of."""
        self.value("0")
        said = []
        for event in self._browser.events(self._session):
            if event["method"] == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                said.append(str(details.get("exception", {}).get("description") or details["text"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                said.append(event["params"]["entry"]["text"])
        return said
