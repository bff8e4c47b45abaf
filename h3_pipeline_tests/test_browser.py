"""The browser's fixtures: they find Chromium, show a page, and do not hide that it is missing."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from h3_pipeline_tests.browser import REQUIRE, find_chromium, require_chromium


def test_finds_the_command_in_the_search_path(tmp_path: Path) -> None:
    command = tmp_path / "google-chrome"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert find_chromium(str(tmp_path)) == command
    assert require_chromium({"PATH": str(tmp_path), REQUIRE: "1"}) == command


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_one_a_test_is_skipped(tmp_path: Path, value: str | None) -> None:
    environment = {"PATH": str(tmp_path)} | ({} if value is None else {REQUIRE: value})
    with pytest.raises(pytest.skip.Exception, match="Debian's package is chromium"):
        require_chromium(environment)


def test_without_one_a_test_fails_where_it_is_required(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=REQUIRE):
        require_chromium({"PATH": str(tmp_path), REQUIRE: "1"})


@pytest.mark.browser
def test_a_page_runs_its_script(page: Page) -> None:
    page.set_content("<p id='sum'></p><script>document.getElementById('sum').textContent = 19 + 23</script>")
    assert page.inner_text("#sum") == "42"
