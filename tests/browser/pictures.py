"""Makes the pictures in docs/pictures anew, from the demo's world: `python -m tests.browser.pictures`. Needs Chromium and Pillow."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, DESK, PHONE

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
LARGEST = 200_000
"""In bytes. A picture has so few colours that a palette holds them."""
LINK = re.compile(r"http\S+/welcome\?token=\S+")


def main() -> None:
    """Run the demo to its end, log in by the link that it prints, and look at the pages."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = subprocess.Popen(
            [sys.executable, "-m", "triage", "demo", "--folder", f"{folder}/demo", "--seconds", "10"], stdout=subprocess.PIPE, text=True
        )
        try:
            said = ""
            for line in demo.stdout or ():
                said += line
                if "Ctrl-C ends the demo." in line:
                    break
            links = LINK.findall(said)
            if not links:
                sys.exit(f"the demo printed no link to log in with:\n{said}")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                take_all(browser, links[-1])
                browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)


def take_all(browser: Browser, link: str) -> None:
    """Every picture."""
    page = browser.new_context(viewport=DESK).new_page()
    page.goto(link)
    page.get_by_label("Name to log in with").fill("robin")
    page.get_by_label("Name that colleagues see").fill("Robin")
    page.get_by_label("Password").fill("a password of the demo")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#list")).to_be_visible()
    home, state = page.url, page.context.storage_state()

    def other(**options: Any) -> Page:
        opened = browser.new_context(storage_state=state, base_url=home, **options).new_page()
        opened.goto("/")
        return opened

    for name, shown in (("queue", page), ("queue-dark", other(viewport=DESK, color_scheme="dark"))):
        shown.keyboard.press("j")
        expect(shown.locator("#reply[data-at]")).to_be_visible()
        take(shown, name)
    take(other(viewport=PHONE, has_touch=True, is_mobile=True), "phone")
    for name in ("insights", "sources"):
        page.goto(f"{home}{name}")
        take(page, name)


def take(page: Page, name: str) -> None:
    """A picture of what is to be seen, with a palette of its own."""
    from PIL import Image

    time.sleep(0.5)  # what the page asks for once it is shown
    made = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    made.save(FOLDER / f"{name}.png", optimize=True)
    size = (FOLDER / f"{name}.png").stat().st_size
    print(f"{name}.png {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"{name}.png is larger than {LARGEST:,} bytes")


if __name__ == "__main__":
    main()
