"""How large a map is, how long it takes to write, to open and to redraw: ``python benchmarks/maps.py``.

Makes results of cells in one city with departures by hour of the week, writes their maps, and opens them in headless
Chromium. Without a graphics card its frames are drawn by a software renderer, the slowest there is. What the page
itself costs, on any machine, is the processor time of the browser's main thread.
"""

import argparse
import tempfile
import time
from pathlib import Path

import h3.api.numpy_int as h3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Browser, CDPSession, sync_playwright

from h3_pipeline.exports.maps.render import write_map
from h3_pipeline.exports.maps.spec import HOURS, MapSpec, Measure

_FRAMES = """
(frames) => new Promise((done) => {
  const times = [];
  let last = performance.now();
  const step = (now) => {
    times.push(now - last);
    last = now;
    h3map.look({ longitude: h3map.view().longitude + 0.0005 });
    if (times.length < frames) requestAnimationFrame(step);
    else done(times.slice(1).sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})
"""

_HOUR = """
() => new Promise((done) => {
  const began = performance.now();
  const slider = document.getElementById("hour");
  slider.value = (Number(slider.value) + 1) % 168;
  slider.dispatchEvent(new Event("input"));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})
"""


_FRAMES_DRAWN = 15

_MAIN_THREAD = ("of the main thread", "ms of the main thread to another hour")


def result(cells: int, hours: int, path: Path) -> int:
    """Write a result of so many cells, each with so many hours of the week; returns its rows."""
    rng = np.random.default_rng(3)
    rings = int(np.ceil(np.sqrt(cells / 3)))
    disk = np.asarray(h3.grid_disk(h3.latlng_to_cell(40.73, -73.95, 9), rings), dtype=np.uint64)[:cells]
    rows = np.repeat(disk, hours)
    hour = np.concatenate([rng.permutation(HOURS)[:hours] for _ in range(len(disk))]).astype(np.uint8)
    departures = rng.pareto(1.2, len(rows)).astype(np.int64) + 1
    pq.write_table(pa.table({"cell": rows, "hour_of_week": hour, "departures": departures}), path)
    return len(rows)


def measure(browser: Browser, cells: int, hours: int, folder: Path) -> list[str]:
    """One line of the table."""
    rows = result(cells, hours, folder / "result.parquet")
    spec = MapSpec(
        title=f"{cells:,} cells",
        measures=(Measure("departures", "Departures", "trips"),),
        cell="cell",
        hour_of_week="hour_of_week" if hours > 1 else None,
    )
    began = time.process_time()
    written = write_map(folder / "result.parquet", spec, folder / "map.html")
    cpu = time.process_time() - began
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    began = time.perf_counter()
    page.goto(written.path.as_uri())
    page.wait_for_selector("html[data-state=ready]", state="attached", timeout=120_000)
    opened = time.perf_counter() - began
    to_open = _main_thread(devtools)
    frames = page.evaluate(_FRAMES, _FRAMES_DRAWN)
    a_frame = (_main_thread(devtools) - to_open) / _FRAMES_DRAWN
    before = _main_thread(devtools)
    if hours > 1:
        for _ in range(5):
            page.evaluate(_HOUR)
    an_hour = (_main_thread(devtools) - before) / 5
    page.close()
    return [
        f"{cells:,}",
        f"{rows:,}",
        f"{written.bytes / 1e6:.1f}",
        f"{cpu:.1f}",
        f"{opened:.1f}",
        f"{to_open:.1f}",
        f"{frames[len(frames) // 2]:.0f}",
        f"{1000 * a_frame:.1f}",
        f"{1000 * an_hour:.0f}" if hours > 1 else "",
    ]


def _main_thread(devtools: CDPSession) -> float:
    """Seconds of processor time that the page's main thread took since it began."""
    metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's command")
    chromium = parser.parse_args().chromium
    columns = ("cells", "rows", "MB", "s CPU to write", "s to open", "of the main thread", "ms a frame", *_MAIN_THREAD)
    print("|", " | ".join(columns), "|")
    print("|", " | ".join("---" for _ in columns), "|")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for cells, hours in ((1_000, 168), (50_000, 1), (50_000, 20)):
            print("|", " | ".join(measure(browser, cells, hours, Path(folder))), "|", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
