"""A real Chromium without a window, controlled by the DevTools protocol over a pipe; only the binary is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The browser's path: from the environment variable CHROMIUM, or the first installed program with a usual name."""
    return next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM", ""), *NAMES])), None)


class Browser:
    """A browser with one page."""

    def __init__(self, binary: str, profile: Path) -> None:
        to_read, self._to_write = os.pipe()
        self._from_read, from_write = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4; the shell moves the pipes there.
        given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, from_write)]
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        flags += ["--no-first-run", "--disable-dev-shm-usage", "--mute-audio", f"--user-data-dir={profile}"]
        script = f'exec "$@" 3<&{given[0]} 4>&{given[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", binary, *flags, "about:blank"],
            pass_fds=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_read, from_write, *given):
            os.close(end)
        self._received = b""
        self._count = 0
        self._session: str | None = None
        self.problems: list[str] = []
        """Errors and warnings in the page's console, exceptions, and requests for anything but files on disk."""
        target = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        answer = self._answer(method, **parameters)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _answer(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return the reply, with `result` or `error`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_write, json.dumps(message).encode() + b"\0")
        while True:
            received = self._receive()
            if received.get("id") == self._count:
                return received

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until it is displayed."""
        self.problems.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri() + fragment)
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
        self.settle()

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true, even if another page is loaded in the meantime."""
        deadline = time.monotonic() + 60
        while True:
            answer = self._answer("Runtime.evaluate", expression=condition, returnByValue=True)
            # An error means that the page was replaced during the call.
            if "error" not in answer and answer["result"]["result"].get("value"):
                return
            assert time.monotonic() < deadline, (condition, answer)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait for two repaints."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Set the preferred colour scheme, `"light"` or `"dark"`."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send a mouse event: moved, pressed, released or wheel."""
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind.title()}", x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        self.mouse("moved", x, y)
        for kind in ("pressed", "released"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key, as `KeyboardEvent.key` names it."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        """A screenshot of the window, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._to_write)
        os.close(self._from_read)
        self._process.terminate()
        self._process.wait(30)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            assert select.select([self._from_read], [], [], 60)[0], "the browser does not answer"
            piece = os.read(self._from_read, 1 << 20)
            assert piece, "the browser ended"
            self._received += piece
        line, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        event = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled" if event["type"] in ("error", "warning", "assert"):
                self.problems.append(str(event["args"]))
            case "Runtime.exceptionThrown":
                self.problems.append(str(event["exceptionDetails"]))
            case "Log.entryAdded" if event["entry"]["level"] in ("error", "warning"):
                self.problems.append(event["entry"]["text"])
            case "Network.requestWillBeSent" if not event["request"]["url"].startswith(("file:", "about:")):
                self.problems.append(f"request: {event['request']['url']}")
