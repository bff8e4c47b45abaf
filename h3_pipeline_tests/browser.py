"""A pytest plugin: fixtures for tests that look at a page in headless Chromium.

Mark such tests ``@pytest.mark.browser``. Where there is no Chromium they are skipped, or fail if
``H3_PIPELINE_REQUIRE_BROWSER=1`` says that there should be one, as it does in CI.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REQUIRE = "H3_PIPELINE_REQUIRE_BROWSER"

COMMANDS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

VIEWPORT = {"width": 1440, "height": 900}
"""Size of the page, and so of the screenshots, in pixels."""


def find_chromium(path: str | None = None) -> Path | None:
    """The browser's command, looked for in a search path like ``PATH``, by default that itself."""
    found = (shutil.which(command, path=path) for command in COMMANDS)
    return next((Path(command) for command in found if command), None)


def require_chromium(environment: Mapping[str, str] = os.environ) -> Path:
    """The browser's command; without one, the test that asks is skipped, or fails where it must not be."""
    found = find_chromium(environment.get("PATH"))
    if found is None:
        message = f"there is no Chromium ({', '.join(COMMANDS)}); Debian's package is chromium"
        if environment.get(REQUIRE, "") in ("", "0"):
            pytest.skip(message)
        pytest.fail(f"{REQUIRE} is set, but {message}")
    return found


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's command."""
    return require_chromium()


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """A running headless Chromium, for one file: while it runs, this thread has an event loop."""
    from playwright.sync_api import sync_playwright

    # its sandbox refuses to run as root, who CI is; the pages are our own
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page that knows nothing of those of other tests."""
    with browser.new_context(viewport={"width": VIEWPORT["width"], "height": VIEWPORT["height"]}) as context:
        yield context.new_page()
