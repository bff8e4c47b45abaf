"""Maps as people see them: in a browser, from the disk, without a network."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h3.api.numpy_int as h3
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor
from playwright.sync_api import Browser, Page

from h3_pipeline.exports.maps.classes import classify
from h3_pipeline.exports.maps.colours import SEQUENTIAL
from h3_pipeline.exports.maps.render import write_map
from h3_pipeline.exports.maps.spec import MapSpec, Measure
from h3_pipeline_tests.exports.maps import results

pytestmark = pytest.mark.browser

DRAWN = 60_000
"""Milliseconds; without a graphics card, and with other work, a map takes its time."""


@dataclass
class Opened:
    """A map in a browser.

    Attributes:
        page: The page.
        requests: Addresses that it asked for, its own file's not among them.
        complaints: What it wrote to the console, and errors.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def complaint(self, text: str) -> None:
        # that reading the picture back is slow without a graphics card is no fault of the page
        if "GPU stall due to ReadPixels" not in text:
            self.complaints.append(text)

    def picture(self) -> Image.Image:
        self.settle()
        return Image.open(io.BytesIO(self.page.locator("#map").screenshot())).convert("RGB")

    def settle(self) -> None:
        """Until all that was asked for is drawn."""
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))))"
        )

    def pixel(self, cell: str) -> tuple[float, float]:
        x, y = self.page.evaluate("(cell) => h3map.pixel(cell)", cell)
        return x, y

    def colour(self, cell: str) -> tuple[int, ...]:
        """Of the middle of a cell."""
        x, y = self.pixel(cell)
        box = self.page.locator("#map").bounding_box()
        assert box
        found = self.picture().getpixel((int(x - box["x"]), int(y - box["y"])))
        assert isinstance(found, tuple)
        return found

    def tooltip(self, cell: str) -> str:
        """What it says when the mouse is on a cell."""
        x, y = self.pixel(cell)
        self.page.mouse.move(x - 3, y)
        self.page.mouse.move(x, y)
        self.page.locator("#tooltip").get_by_text(cell).first.wait_for(timeout=DRAWN)
        return self.page.inner_text("#tooltip")


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def open_map(browser: Browser) -> Iterator[Open]:
    """Opens a map's file as a double click does."""
    contexts = []

    def opened(path: Path, *, width: int = 1000, height: int = 700, scheme: str = "light") -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            offline=True,
            service_workers="block",
        )
        contexts.append(context)
        page = context.new_page()
        found = Opened(page)
        page.on("request", lambda request: request.url == path.as_uri() or found.requests.append(request.url))
        page.on("console", lambda message: found.complaint(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-state]", timeout=DRAWN, state="attached")
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return results.by_cell_and_hour(results.city_trips(3000), (6, 7))


SPEC = MapSpec(
    title="Departures by hour of the week",
    description="Trips by the cell where they began.",
    measures=(
        Measure("departures", "Departures", "trips"),
        Measure("minutes", "Mean duration", "min", weight="departures"),
    ),
    cell="cell",
    hour_of_week="hour_of_week",
)


@pytest.fixture(scope="module")
def map_file(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map with spaces & more")
    return write_map(results.write(frame, folder / "r.parquet"), SPEC, folder / "map.html").path


@pytest.fixture(scope="module")
def opened(open_map: Open, map_file: Path) -> Opened:
    """A map in light colours, shared; a test begins with `reset`."""
    return open_map(map_file)


@pytest.fixture
def reset(opened: Opened) -> Opened:
    opened.page.keyboard.press("Escape")
    opened.page.mouse.move(1, 1)
    opened.page.select_option("#measure", "0")
    opened.page.select_option("#resolution", "1")
    opened.page.locator("#all-hours").set_checked(True)
    opened.page.click("#home")
    return opened


def _of_resolution(frame: pd.DataFrame, resolution: int) -> pd.DataFrame:
    return frame[[h3.get_resolution(cell) == resolution for cell in frame["cell"]]]


def _colour(value: float, values: pd.Series, *, dark: bool = False) -> tuple[int, ...]:
    classes = classify(values.to_numpy(dtype=float))
    return ImageColor.getrgb(SEQUENTIAL.pick(len(classes.labels), dark=dark)[classes.of(value)])


def _near(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 4


def test_it_draws_what_the_rows_say(reset: Opened, frame: pd.DataFrame) -> None:
    totals = _of_resolution(frame, 7).groupby("cell")["departures"].sum().sort_values()
    for place in (-1, -10, -40):
        cell, total = int(totals.index[place]), totals.iloc[place]
        assert _near(reset.colour(f"{cell:x}"), _colour(total, totals)), f"{cell:x}"
    colours = {colour for _, colour in reset.picture().getcolors(1 << 20) or []}
    assert {ImageColor.getrgb(colour) for colour in SEQUENTIAL.light} <= colours


def test_the_tooltip_has_the_cells_numbers(reset: Opened, frame: pd.DataFrame) -> None:
    mine = _of_resolution(frame, 7)
    totals = mine.groupby("cell")["departures"].sum().sort_values()
    cell = int(totals.index[-3])
    rows = mine[mine["cell"] == cell]
    minutes = np.average(rows["minutes"], weights=rows["departures"])
    words = reset.tooltip(f"{cell:x}")
    assert f"{cell:x}" in words
    assert f"{totals.iloc[-3]:,} trips" in words
    assert f"{minutes:.4g} min" in words
    assert "all hours" in words


def test_the_hour_changes_picture_tooltip_and_legend(reset: Opened, frame: pd.DataFrame) -> None:
    mine = _of_resolution(frame, 7)
    hour = 5 * 24 + 17
    here = mine[mine["hour_of_week"] == hour].set_index("cell")["departures"].sort_values()
    before = reset.picture()
    reset.page.locator("#hour").fill(str(hour))
    assert not reset.page.is_checked("#all-hours")
    assert reset.page.inner_text("#hour-name") == "Saturday, 17:00–18:00"
    assert f"{len(here):,} cells in Saturday, 17:00–18:00; departures: {here.sum():,} trips in total" in (
        reset.page.inner_text("#status")
    )
    assert reset.picture().tobytes() != before.tobytes()
    busiest = int(here.index[-1])
    # one scale for every hour: colours can be compared
    assert _near(reset.colour(f"{busiest:x}"), _colour(here.iloc[-1], mine["departures"]))
    assert f"{here.iloc[-1]:,} trips" in reset.tooltip(f"{busiest:x}")

    reset.page.locator("#hour").focus()
    reset.page.keyboard.press("ArrowRight")
    assert reset.page.inner_text("#hour-name") == "Saturday, 18:00–19:00"
    assert reset.page.get_attribute("#hour", "aria-valuetext") == "Saturday, 18:00–19:00"


def test_play_goes_on_to_the_next_hour(reset: Opened) -> None:
    reset.page.locator("#hour").fill("167")
    reset.page.click("#play")
    assert reset.page.get_attribute("#play", "aria-pressed") == "true"
    reset.page.locator("#hour-name", has_text="Monday").wait_for(timeout=DRAWN)
    reset.page.click("#play")
    assert reset.page.get_attribute("#play", "aria-pressed") == "false"


def test_the_measure_changes_picture_and_legend(reset: Opened, frame: pd.DataFrame) -> None:
    before = reset.picture()
    reset.page.select_option("#measure", label="Mean duration")
    assert reset.page.inner_text("#legend-title") == "Mean duration, min"
    assert reset.picture().tobytes() != before.tobytes()
    mine = _of_resolution(frame, 7).assign(time=frame["minutes"] * frame["departures"])
    sums = mine.groupby("cell")[["time", "departures"]].sum()
    expected = classify((sums["time"] / sums["departures"]).to_numpy())
    labels = [item.split("\n")[0] for item in reset.page.locator("#classes li").all_inner_texts()]
    assert labels == list(expected.labels)


def test_the_resolution_changes_the_cells(reset: Opened, frame: pd.DataFrame) -> None:
    before = reset.picture()
    reset.page.select_option("#resolution", "0")
    totals = _of_resolution(frame, 6).groupby("cell")["departures"].sum().sort_values()
    assert reset.page.inner_text("#status").startswith(f"{len(totals)} cells")
    assert reset.picture().tobytes() != before.tobytes()
    assert f"{totals.iloc[-1]:,} trips" in reset.tooltip(f"{int(totals.index[-1]):x}")


def test_the_largest_are_a_table_that_leads_to_them(reset: Opened, frame: pd.DataFrame) -> None:
    totals = _of_resolution(frame, 7).groupby("cell")["departures"].sum().nlargest(20)
    reset.page.click("#largest summary")
    reset.page.locator("#rows button").first.wait_for()  # a page hears of it a moment later
    rows = reset.page.locator("#rows tr").all_inner_texts()
    assert [int(row.split()[1].replace(",", "")) for row in rows] == totals.tolist()
    before = reset.picture()
    reset.page.locator("#rows button").nth(1).press("Enter")
    cell = reset.page.locator("#rows button").nth(1).inner_text()
    assert cell in reset.page.inner_text("#tooltip")
    assert reset.picture().tobytes() != before.tobytes()
    reset.page.keyboard.press("Escape")
    assert reset.page.is_hidden("#tooltip")
    reset.page.click("#largest summary")


def test_light_and_dark_can_be_changed(reset: Opened, frame: pd.DataFrame) -> None:
    totals = _of_resolution(frame, 7).groupby("cell")["departures"].sum().sort_values()
    cell = f"{int(totals.index[-1]):x}"
    page = reset.page
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.click("#theme")
    assert sum(ImageColor.getrgb(page.evaluate(background))) < 150
    assert _near(reset.colour(cell), _colour(totals.iloc[-1], totals, dark=True))
    page.click("#theme")
    assert _near(reset.colour(cell), _colour(totals.iloc[-1], totals))


def test_degrees_are_written_at_the_edge(reset: Opened) -> None:
    words = reset.page.locator("#degrees text").all_text_contents()
    assert any(word.endswith("°N") and 40 <= float(word[:-2]) <= 41.5 for word in words)
    assert any(word.endswith("°W") and 73 <= float(word[:-2]) <= 75 for word in words)


def test_everything_can_be_reached_and_has_a_name(reset: Opened) -> None:
    unnamed = reset.page.evaluate(
        """[...document.querySelectorAll("button, select, input")]
            .filter((each) => each.offsetParent && !each.labels?.length
                && !each.getAttribute("aria-label") && !each.textContent.trim())
            .map((each) => each.id)"""
    )
    assert unnamed == []
    reset.page.focus("#theme")
    reached = []
    for _ in range(12):
        reset.page.keyboard.press("Tab")
        reached.append(reset.page.evaluate("document.activeElement.id"))
    assert {"measure", "resolution", "all-hours", "play", "hour", "closer", "home"} <= set(reached)


def test_nothing_was_asked_for_and_nothing_complained(reset: Opened) -> None:
    reset.settle()
    assert reset.requests == []
    assert reset.complaints == []


def test_a_dark_phone(open_map: Open, map_file: Path, frame: pd.DataFrame) -> None:
    found = open_map(map_file, width=375, height=740, scheme="dark")
    page = found.page
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for part in ("#map", "#legend", "#controls", "#play", "#measure"):
        box = page.locator(part).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 375
    legend = page.locator("#classes").bounding_box()
    assert legend
    assert legend["y"] + legend["height"] < 740, "the legend is seen with the map"
    colours = {colour for _, colour in found.picture().getcolors(1 << 20) or []}
    assert {ImageColor.getrgb(colour) for colour in SEQUENTIAL.dark} <= colours
    page.locator("#note").scroll_into_view_if_needed()
    shown = page.locator("#map").bounding_box()
    assert shown
    assert shown["y"] == 0, "the map stays in sight while its controls are used"
    # of the hours, the fullest is shown first
    page.locator("#all-hours").set_checked(False)
    fullest = _of_resolution(frame, 7)["hour_of_week"].value_counts().max()
    assert page.inner_text("#status").startswith(f"{fullest:,} cells in ")
    assert (found.requests, found.complaints) == ([], [])


def test_far_away_places_are_dots_and_can_be_gone_to(open_map: Open, tmp_path: Path) -> None:
    near, far = (
        np.asarray(h3.grid_disk(h3.latlng_to_cell(lat, lng, 8), 4), dtype=np.uint64)
        for lat, lng in ((50.08, 14.43), (-33.87, 151.2))
    )
    frame = pd.DataFrame({"cell": np.r_[near, far], "n": [7] * len(near) + [3] * len(far)})
    spec = MapSpec(title="Two cities", cell="cell", measures=(Measure("n", "Trips"),))
    found = open_map(write_map(results.write(frame, tmp_path / "r.parquet"), spec, tmp_path / "map.html").path)
    many, few = (ImageColor.getrgb(SEQUENTIAL.pick(2)[index]) for index in (1, 0))

    def pixels() -> dict[tuple[int, ...], int]:
        return {colour: count for count, colour in found.picture().getcolors(1 << 20) or []}

    opened = pixels()
    assert opened.get(many, 0) > 10_000
    assert few not in opened
    found.page.click("#everything")
    both = pixels()
    assert 5 < both.get(many, 0) < 100
    assert 5 < both.get(few, 0) < 100
    found.page.select_option("#place", "1")
    assert "Australia/Sydney" in found.page.locator("#place option:checked").inner_text()
    there = pixels()
    assert there.get(few, 0) > 10_000
    assert many not in there
    assert (found.requests, found.complaints) == ([], [])


def test_flows_are_arcs_and_circles_and_texts_are_never_run(open_map: Open, tmp_path: Path) -> None:
    evil = '</script><img src=x onerror=document.title=1> & "quoted"'
    here, there = (f"{h3.latlng_to_cell(40.7, lng, 7):x}" for lng in (-74.1, -73.9))
    frame = pd.DataFrame({"o": [here, there, here], "d": [there, here, here], "trips": [70, 5, 1234]})
    spec = MapSpec(title=evil, description=evil, note=evil, flow=("o", "d"), measures=(Measure("trips", evil, evil),))
    found = open_map(write_map(results.write(frame, tmp_path / "r.parquet"), spec, tmp_path / "map.html").path)
    # a flow within a cell is a circle in its middle
    words = found.tooltip(here)
    assert f"from {here}" in words
    assert f"to {here}" in words
    assert f"1,234 {evil}" in words
    # one between cells is an arc of its class's colour, and the way back is another
    colours = [colour for _, colour in found.picture().getcolors(1 << 20) or []]
    for trips in (5, 70):
        expected = _colour(trips, frame["trips"])
        assert any(max(abs(a - b) for a, b in zip(colour, expected, strict=True)) < 40 for colour in colours), trips
    found.page.click("#largest summary")
    assert found.page.locator("#rows tr").nth(1).inner_text().split()[:4] == [here, "→", there, "70"]
    assert found.page.is_hidden("#top-control")

    assert found.page.inner_text("h1") == evil
    assert found.page.title() == evil
    assert found.page.inner_text("#legend-title") == f"{evil}, {evil}"
    assert found.page.locator("img").count() == 0
    assert (found.requests, found.complaints) == ([], [])


def test_no_rows_are_said_to_be_none(open_map: Open, tmp_path: Path) -> None:
    empty = pd.DataFrame({"cell": pd.array([], dtype="UInt64"), "n": pd.array([], dtype="Int64")})
    spec = MapSpec(title="Nothing", cell="cell", measures=(Measure("n", "Trips"),))
    found = open_map(write_map(results.write(empty, tmp_path / "r.parquet"), spec, tmp_path / "map.html").path)
    assert found.page.inner_text("#message") == "The result has no rows: there is nothing to show."
    assert found.page.is_hidden("#controls")
    assert (found.requests, found.complaints) == ([], [])


def test_real_trips(open_map: Open, shared_data: Path, tmp_path: Path) -> None:
    trips = pd.read_csv(shared_data / "nyc-yellow" / "yellow_tripdata_2016-01.csv", skipinitialspace=True)
    trips = trips[(trips["pickup_latitude"] != 0) & (trips["pickup_longitude"] != 0)]
    cells = pd.Series(results.cells(trips["pickup_latitude"], trips["pickup_longitude"], 8), name="cell")
    counts = cells.value_counts().rename("departures").reset_index()
    spec = MapSpec(title="Yellow taxis", measures=(Measure("departures", "Departures"),), cell="cell")
    found = open_map(write_map(results.write(counts, tmp_path / "r.parquet"), spec, tmp_path / "map.html").path)
    assert f"departures: {len(trips):,} in total" in found.page.inner_text("#status")
    assert f"{counts['departures'][0]:,}" in found.tooltip(f"{counts['cell'][0]:x}")
    assert (found.requests, found.complaints) == ([], [])
