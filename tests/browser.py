"""Debian's Chromium, headless, and what it noticed of the pages that it was shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
DESK = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}


class Browser:
    """One window; every request that it makes and every complaint of its console is kept."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def look(self, *, dark: bool = False, phone: bool = False) -> None:
        """Become a phone or a desk, dark or light."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._tell("Emulation.setDeviceMetricsOverride", PHONE if phone else DESK)

    def picture(self, file: str) -> None:
        """Write the whole page as it is seen to a PNG file, where PICTURES names a folder."""
        folder = os.environ.get("PICTURES")
        if folder:
            taken = self._tell("Page.captureScreenshot", {"captureBeyondViewport": True})
            Path(folder, file).write_bytes(base64.b64decode(taken["data"]))

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """Return what is to be read at a place."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def wait(self, condition: Callable[[], Any], seconds: float = 15) -> None:
        """Wait until something holds."""
        WebDriverWait(self.driver, seconds, 0.1).until(lambda _driver: condition())

    def complaints(self) -> list[str]:
        """Return what the browser's console said since the last time."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def hosts(self) -> set[str]:
        """Return the hosts that were asked for anything since the last time."""
        found = set()
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme not in ("data", "about", "chrome"):
                    found.add(url.netloc)
        return found

    @contextmanager
    def without(self, url: str) -> Iterator[None]:
        """Let requests of this address fail."""
        self._tell("Network.enable", {})
        self._tell("Network.setBlockedURLs", {"urls": [url]})
        yield
        self._tell("Network.setBlockedURLs", {"urls": []})

    def _tell(self, command: str, parameters: dict[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run Chromium with an empty profile; as root it has no sandbox of its own."""
    subprocess.run([ROOT / "tools" / "debian.sh", "chromium", "chromium-driver"], check=True, timeout=600)
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for switch in (
        "headless=new", "disable-gpu", "no-sandbox", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", f"user-data-dir={folder / 'profile'}",
    ):  # fmt: skip
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
