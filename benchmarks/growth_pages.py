"""The asset's pages in Dagster's UI with many partitions: a real webserver, a real browser, the UI's own queries."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dagster import AssetKey, AssetMaterialization, DagsterInstance
from playwright.sync_api import Browser, Request, sync_playwright

from benchmarks.growth_result import Page, PartitionedPages
from benchmarks.workplace import PIPELINE_PYTHON, environment
from h3_pipeline.cli.dagster_services import end
from h3_pipeline.local.dagster_home import dagster_home
from h3_pipeline.local.ports import HOST, held
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.warehouse.schema import TRIPS

PAGES = {"overview": "overview", "partitions": "partitions", "events": "events"}
"""What the UI calls them, and the parameter ``view`` of their address."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

_BATCH = 500
_START_SECONDS = 300
_QUIET_SECONDS = 1.5  # between what a page shows at first and what that makes it ask
_LONGEST_SECONDS = 120


def partitioned_pages(home: Path, partitions: int, *, rounds: int, say: Callable[[str], None]) -> PartitionedPages:
    """Open the pages of the asset ``trips`` with so many partitions, each of them materialized once.

    Args:
        home: Folder of the pipeline's state; new.
        partitions: Their number.
        rounds: How often each page is opened, each time in a new browser context.
        say: Told what goes on.

    Raises:
        RuntimeError: There is no Chromium, or the webserver does not start.
    """
    chromium = next((found for command in CHROMIUM if (found := shutil.which(command))), None)
    if chromium is None:
        raise RuntimeError(f"the UI's pages need Chromium ({', '.join(CHROMIUM)}); Debian's package is chromium")
    with dagster_home(home) as folder:
        with DagsterInstance.get() as instance:
            materialize(instance, partitions)
        say(f"{partitions:,} partitions are materialized")
        pages = [Page(name=name) for name in PAGES]
        with _webserver(folder) as url, sync_playwright() as playwright:
            # its sandbox refuses to run as root; the pages are our own
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            # the first visit lets the webserver load the code, which no later one does
            _visit(browser, f"{url}/assets/{TRIPS}", Page(name=""))
            for _ in range(rounds):
                for page in pages:
                    _visit(browser, f"{url}/assets/{TRIPS}?view={PAGES[page.name]}", page)
                    say(f"{partitions:,} partitions, {page.name}: {page.seconds[-1]:.2f} s")
            browser.close()
    return PartitionedPages(partitions=partitions, pages=pages)


def materialize(instance: DagsterInstance, partitions: int) -> None:
    """Add partitions and note a materialization of ``trips`` for each."""
    keys = [f"city/2024/{number % 331:03d}/trips-{number:06d}.csv" for number in range(partitions)]
    for first in range(0, partitions, _BATCH):
        instance.add_dynamic_partitions(UPLOADS, keys[first : first + _BATCH])
    for key in keys:
        instance.report_runless_asset_event(
            AssetMaterialization(AssetKey(TRIPS), partition=key, metadata={"rows loaded": 5_000})
        )


def _visit(browser: Browser, url: str, page: Page) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    traffic = _Traffic()
    tab.on("request", traffic.begin)
    tab.on("requestfinished", traffic.finish)
    tab.on("requestfailed", traffic.fail)
    tab.goto(url)
    while not traffic.is_quiet:
        tab.wait_for_timeout(50)
    page.seconds.append(round(traffic.last_end - traffic.began, 3))
    for request in traffic.finished:
        if urlsplit(request.url).path.endswith("/graphql") and request.method == "POST":
            name = json.loads(request.post_data or "{}").get("operationName") or "unnamed"
            page.queries_ms.setdefault(name, []).append(round(request.timing["responseEnd"], 1))
            size = request.sizes()["responseBodySize"]
            page.queries_bytes[name] = max(size, page.queries_bytes.get(name, 0))
    context.close()


class _Traffic:
    """What a page asks for, from its first request until none is under way for a while."""

    def __init__(self) -> None:
        self.began = self.last_end = time.perf_counter()
        self.finished: list[Request] = []
        self._under_way: set[Request] = set()

    @property
    def is_quiet(self) -> bool:
        """Whether the page has all it wants, or will never have it."""
        now = time.perf_counter()
        return (not self._under_way and now - self.last_end > _QUIET_SECONDS) or now - self.began > _LONGEST_SECONDS

    def begin(self, request: Request) -> None:
        """A request was sent."""
        self._under_way.add(request)

    def finish(self, request: Request) -> None:
        """Its answer is here."""
        self.finished.append(request)
        self.fail(request)

    def fail(self, request: Request) -> None:
        """It will have no answer, or has it."""
        self._under_way.discard(request)
        self.last_end = time.perf_counter()


@contextmanager
def _webserver(folder: Path) -> Iterator[str]:
    """Dagster's own webserver on the instance of a folder; where it is."""
    with held() as port:
        pass
    log = folder / "webserver.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(PIPELINE_PYTHON),
                "-m",
                "dagster_webserver",
                "-m",
                "h3_pipeline.definitions",
                "-h",
                HOST,
                "-p",
                str(port),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # a session of its own: what ends it ends all that is in its session
            start_new_session=True,
            env=environment({"DAGSTER_HOME": str(folder), "H3_PIPELINE_HOME": str(folder.parent)}),
            text=True,
        )
    try:
        url = f"http://{HOST}:{port}"
        _wait_for(url, process, log)
        yield url
    finally:
        end(process)


def _wait_for(url: str, process: "subprocess.Popen[str]", log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(f"{url}/server_info", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"the webserver did not start: {log.read_text(errors='replace')[-2000:]}")
