"""A headless Chromium, spoken to over a pipe (Chrome DevTools Protocol): no driver, no network, no dependency."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--remote-debugging-pipe",
)  # fmt: skip


def executable() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


# The browser reads commands from descriptor 3 and answers on 4.
_AT_THREE_AND_FOUR = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(name), fcntl.F_DUPFD, 20) for name in sys.argv[1:3]]
for pipe, place in zip(pipes, (3, 4)):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Chromium:
    """One browser process. `open` loads a file and returns what happened."""

    def __init__(self, path: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="isoscale-browser-")
        there, self._out = os.pipe()
        self._in, back = os.pipe()
        arguments = [sys.executable, "-c", _AT_THREE_AND_FOUR, str(there), str(back), path, *FLAGS]
        arguments.append(f"--user-data-dir={self._profile}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(arguments, pass_fds=(there, back), **quiet)
        os.close(there)
        os.close(back)
        self._buffer, self._number, self.events = b"", 0, []

    def close(self) -> None:
        self.call("Browser.close")
        self._process.wait(20)
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]
            self.events.append(answer)
        raise TimeoutError(method)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], 60)[0]:
                raise TimeoutError("the browser said nothing for a minute")
            self._buffer += os.read(self._in, 1 << 20)
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, file: Path, *, width: int = 1280, dark: bool = False, scripts: bool = True) -> "Page":
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", session, **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", session, value=not scripts)
        self.call("Page.navigate", session, url=file.as_uri())
        page = Page(self, session, target)
        page.settle(scripts)
        return page


class Page:
    """A loaded page: `complaints` are console errors, exceptions, log entries; `requests` the addresses asked for."""

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def settle(self, scripts: bool, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        wanted = "document.readyState == 'complete'"
        wanted += " && !!document.documentElement.dataset.drawn" if scripts else ""
        while not self.evaluate(wanted) and time.monotonic() < until:
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        wanted = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self._browser.call("Runtime.evaluate", self._session, **wanted)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def point(self, x: float, y: float) -> None:
        self._browser.call("Input.dispatchMouseEvent", self._session, type="mouseMoved", x=x, y=y)

    def picture(self, file: Path, height: int | None = None) -> None:
        """A screenshot, for the eye: no test asserts on pixels."""
        full = height or self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": full, "scale": 1}
        answer = self._browser.call(
            "Page.captureScreenshot", self._session, format="png", clip=clip, captureBeyondViewport=True
        )
        file.write_bytes(base64.b64decode(answer["data"]))

    @property
    def complaints(self) -> list[str]:
        found = []
        for event in self._browser.events:
            what = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(what["exceptionDetails"])[:500])
            elif event.get("method") == "Log.entryAdded":
                found.append(what["entry"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(what["args"])[:500])
        return found

    @property
    def requests(self) -> list[str]:
        events = [event for event in self._browser.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in events]

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
