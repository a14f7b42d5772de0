"""A real browser for tests: Chromium without a window, told what to do over a pipe (the DevTools protocol)."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
            "--remote-debugging-pipe", "--host-resolver-rules=MAP * ~NOTFOUND")  # fmt: skip


class Browser:
    """One page of a browser. ``faults`` are the console's errors and exceptions, ``requests`` what was asked for."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO):
        self._write, self._read = commands, answers
        self._rest, self._number, self._session = b"", 0, None
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, width: int = 1280, dark: bool = False) -> None:
        """Load a page in a window of that width and colour scheme, and wait for it."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)
        self.loaded = False
        self._call("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self._event(self._message())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; AssertionError with its exception when it throws."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        made = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def press(self, key: str, shift: bool = False) -> None:
        """A key of a US keyboard, pressed and let go."""
        code = f"Digit{key}" if key.isdigit() else f"Key{key.upper()}" if key.isalpha() and len(key) == 1 else key
        said = key.upper() if shift and len(key) == 1 else key
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=said, code=code, modifiers=8 if shift else 0)

    def drag(self, places: list[tuple[float, float]]) -> None:
        """The mouse, pressed at the first place, moved through the others, let go at the last (CSS pixels)."""
        steps = [("mousePressed", places[0]), *(("mouseMoved", place) for place in places[1:]),
                 ("mouseReleased", places[-1])]  # fmt: skip
        for kind, (x, y) in steps:
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def give(self, selector: str, *files: Path) -> None:
        """Files for a file input, as if they had been chosen."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def download_to(self, folder: Path) -> None:
        """Where downloads go."""
        self._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def end(self) -> None:
        """Ask the browser to end."""
        self._session = None
        with contextlib.suppress(BrokenPipeError):
            self._call("Browser.close")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while (told := self._message()).get("id") != self._number:
            self._event(told)
        assert "error" not in told, (method, told["error"])
        return told["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._read.read(1 << 20)
            if not part:
                raise BrokenPipeError("the browser has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _event(self, told: dict[str, Any]) -> None:
        kind, what = told.get("method"), told.get("params", {})
        if kind == "Page.loadEventFired":
            self.loaded = True
        elif kind == "Runtime.exceptionThrown":
            self.faults.append(str(what["exceptionDetails"]))
        elif kind == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.faults.append(what["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and what["type"] == "error":
            self.faults.append(str(what["args"]))
        elif kind == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile; it is ended, by force if need be, on leaving."""
    read_there, write_here = os.pipe()
    read_here, write_there = os.pipe()

    def place() -> None:  # in the child: the browser reads commands from descriptor 3 and answers on 4
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (read_there, write_there)]
        for end, number in zip(high, (3, 4), strict=True):
            os.dup2(end, number)

    process = subprocess.Popen(
        [CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}"],
        preexec_fn=place,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_there)
    os.close(write_there)
    try:
        with os.fdopen(write_here, "wb", buffering=0) as commands, os.fdopen(read_here, "rb", buffering=0) as answers:
            page = Browser(commands, answers)
            yield page
            page.end()
    finally:
        deadline = time.monotonic() + 5
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            process.kill()
        process.wait()
