"""What is written about an upload, and what stays as it was when one is refused."""

import json
from datetime import datetime
from importlib.metadata import version

import h3
import pytest
from backports import zstd

from h3_pipeline.errors import UploadRefused
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.process import RefusedAfterReading, write_refusal
from h3_pipeline.processing.results import SAMPLE_ROWS
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
from h3_pipeline_tests.uploads import Processing, put

HEADER = "started_at,ended_at,origin_lat,origin_lng,destination_lat,destination_lng,distance_km\n"
GOOD = "2024-03-01T08:00:00Z,2024-03-01T08:10:00Z,40.7,-74.0,40.8,-73.9,1.5\n"
LATER = "2024-04-02T09:30:15Z,,-33.86,151.21,,,\n"
BAD = "never,,40.7,-74.0,,,\n"
NOWHERE = "2024-03-01T08:00:00Z,,,,,,\n"


def contents(bucket: Bucket, key: str) -> dict[str, bytes]:
    """Everything that is stored about an upload, by object key."""
    objects = (prefixes.processed_object, prefixes.rejected_object, prefixes.manifest_object, prefixes.refusal_object)
    return {name(key): bucket.read(name(key)) for name in objects if bucket.head(name(key))}


class TestManifest:
    def test_everything_is_said(self, process: Processing) -> None:
        text = HEADER + GOOD + LATER + BAD
        manifest = process(text, "one/two.csv").manifest
        stored = process.bucket.head("uploads/one/two.csv")
        clean = process.bucket.head("processed/one/two.csv.trips.csv.zst")
        assert stored is not None
        assert clean is not None
        dialect = manifest.dialect
        assert manifest == Manifest(
            upload="one/two.csv",
            upload_etag=stored.etag,
            upload_version_id=None,
            upload_bytes=len(text),
            feed="generic",
            dialect=dialect,
            rows_in=3,
            rows_loaded=2,
            rows_rejected=1,
            rejected={"invalid_started_at": 1},
            warnings={"missing_ended_at": 1, "missing_destination": 1},
            h3_resolution=10,
            processed_key=clean.key,
            processed_etag=clean.etag,
            processed_bytes=clean.size,
            rejected_key="rejected/one/two.csv.rejected.csv.zst",
            first_started_at=manifest.first_started_at,
            last_started_at=manifest.last_started_at,
            code_version=version("h3_pipeline"),
            seconds=manifest.seconds,
        )
        assert datetime.fromisoformat(manifest.first_started_at).replace(tzinfo=None) == datetime(2024, 3, 1, 8)
        assert datetime.fromisoformat(manifest.last_started_at).replace(tzinfo=None) == datetime(2024, 4, 2, 9, 30, 15)
        assert (dialect["compression"], dialect["delimiter"], dialect["timezone"]) == ("none", ",", "UTC")
        assert dialect["columns"] == {name: name for name in HEADER.strip().split(",")}
        assert dialect["started_at_format"]["zone"] == "utc"

    def test_it_lies_beside_the_clean_csv_and_can_be_read_back(self, process: Processing) -> None:
        manifest = process(HEADER + GOOD, "read back.csv").manifest
        document = json.loads(process.bucket.read("processed/read back.csv.manifest.json"))
        assert Manifest.from_json(document) == manifest
        assert Manifest.from_json({**document, "of a later version": 1}) == manifest


class TestCleanCsv:
    def test_pandas_reads_what_was_written(self, process: Processing) -> None:
        trips = process(HEADER + GOOD + LATER, "clean.csv").trips
        assert tuple(trips.columns) == PROCESSED_COLUMNS
        first, second = trips.to_dict("records")
        assert (first["started_at"], first["ended_at"]) == ("2024-03-01 08:00:00", "2024-03-01 08:10:00")
        assert (first["origin_lat"], first["destination_lng"]) == (40.7, -73.9)
        assert first["origin_h3"] == h3.str_to_int(h3.latlng_to_cell(40.7, -74.0, 10))
        assert first["destination_h3"] == h3.str_to_int(h3.latlng_to_cell(40.8, -73.9, 10))
        assert second["origin_h3"] == h3.str_to_int(h3.latlng_to_cell(-33.86, 151.21, 10))
        absent = ["ended_at", "destination_lat", "destination_lng", "destination_h3", "distance_km"]
        assert trips[absent].isna().to_numpy().tolist() == [[False] * 5, [True] * 5]

    def test_floats_are_exact(self, process: Processing) -> None:
        values = ["40.750110626220703", "0.1", "-73.993896484375", "5e-324", "-89.99999999999999", "1.7976931348623157"]
        rows = "".join(f"2024-03-01T08:00:00Z,,{value},1,,,\n" for value in values)
        assert process(HEADER + rows, "floats.csv").trips["origin_lat"].tolist() == [float(value) for value in values]

    @pytest.mark.parametrize("resolution", [0, 7, 15])
    def test_the_resolution_is_the_one_asked_for(self, process: Processing, resolution: int) -> None:
        processed = process(HEADER + GOOD, "resolution.csv", resolution=resolution)
        assert processed.manifest.h3_resolution == resolution
        cells = processed.trips[["origin_h3", "destination_h3"]].to_numpy().ravel()
        assert {h3.get_resolution(h3.int_to_str(int(cell))) for cell in cells} == {resolution}

    def test_running_again_gives_the_same_rows(self, process: Processing) -> None:
        process(HEADER + GOOD + BAD, "again.csv")
        before = contents(process.bucket, "again.csv")
        process(HEADER + GOOD + BAD, "again.csv")
        after = contents(process.bucket, "again.csv")
        csvs = [name for name in before if not name.endswith(".json")]
        assert len(csvs) == 2
        for name in csvs:  # where the compressor ends a block is a matter of timing
            assert zstd.decompress(after[name]) == zstd.decompress(before[name])


class TestSample:
    def test_it_is_of_loaded_rows_from_all_over_the_file(self, process: Processing) -> None:
        rows = "".join(f"2024-03-01T08:00:00Z,,{number / 1000},1,,,\n{BAD}" for number in range(1, 3001))
        processed = process(HEADER + rows, "sample.csv")
        sampled = {row["origin_lat"] for row in processed.sample}
        assert len(processed.sample) == len(sampled) == SAMPLE_ROWS
        assert min(sampled) < 0.5 < 2.5 < max(sampled)
        assert process(HEADER + rows, "sample.csv").sample == processed.sample


class TestRefusal:
    def test_a_bad_replacement_leaves_the_good_version_as_it_was(self, process: Processing) -> None:
        process(HEADER + GOOD + BAD, "kept.csv")
        before = contents(process.bucket, "kept.csv")
        with pytest.raises(RefusedAfterReading) as caught:
            process(HEADER + GOOD + BAD * 3, "kept.csv")
        assert caught.value.code == "too_many_rejected"
        assert (caught.value.counts.rows_in, caught.value.counts.rejected) == (4, {"invalid_started_at": 3})
        after = contents(process.bucket, "kept.csv")
        for name in (prefixes.processed_object, prefixes.manifest_object):
            assert after[name("kept.csv")] == before[name("kept.csv")]

    def test_the_message_says_how_many_why_and_where_they_are(self, process: Processing) -> None:
        with pytest.raises(RefusedAfterReading) as caught:
            process(HEADER + GOOD + BAD * 2 + GOOD.replace("40.7", "97"), "why.csv")
        message = str(caught.value)
        for part in (
            "3 of 4 rows (75.0%)",
            "at most 50%",
            "invalid_started_at: 2",
            "origin_out_of_range: 1",
            "rejected/why.csv.rejected.csv.zst",
            "H3_MAX_REJECT_RATIO",
        ):
            assert part in message
        assert "\n" not in message
        assert process.bucket.head("rejected/why.csv.rejected.csv.zst")

    @pytest.mark.parametrize(
        ("bad", "limit", "accepted"), [(1, 0.5, True), (2, 0.5, False), (1, 0.0, False), (9, 1.0, True)]
    )
    def test_the_limit_itself_is_accepted(self, process: Processing, bad: int, limit: float, accepted: bool) -> None:
        text = HEADER + GOOD + BAD * bad
        if accepted:
            assert process(text, "limit.csv", max_reject_ratio=limit).manifest.rows_rejected == bad
        else:
            with pytest.raises(RefusedAfterReading):
                process(text, "limit.csv", max_reject_ratio=limit)

    def test_no_row_at_all_is_refused_whatever_the_limit(self, process: Processing) -> None:
        with pytest.raises(RefusedAfterReading, match="no row can be loaded"):
            process(HEADER + NOWHERE, "none.csv", max_reject_ratio=1.0)

    def test_a_note_tells_whoever_sent_it_and_a_good_version_takes_it_away(self, process: Processing) -> None:
        with pytest.raises(RefusedAfterReading) as caught:
            process(HEADER + NOWHERE, "note.csv")
        write_refusal(process.bucket, "note.csv", caught.value)
        note = process.bucket.read_json("rejected/note.csv.refusal.json")
        assert note is not None
        assert (note["upload"], note["code"], note["rows_in"]) == ("note.csv", "too_many_rejected", 1)
        assert note["error"] == str(caught.value)
        process(HEADER + GOOD, "note.csv")
        assert set(contents(process.bucket, "note.csv")) == {
            "processed/note.csv.trips.csv.zst",
            "processed/note.csv.manifest.json",
        }


class TestChangedWhileRead:
    @pytest.mark.parametrize(
        "replacement",
        [
            pytest.param(HEADER + GOOD * 2, id="good"),
            pytest.param(HEADER + GOOD + GOOD.replace("1.5", '"1"5'), id="malformed"),
            pytest.param(HEADER + GOOD + "\0", id="nul"),
            pytest.param("\x1f\x8b cut", id="half an archive"),
            pytest.param(None, id="removed"),
        ],
    )
    def test_nothing_is_written_of_a_mixture(self, process: Processing, replacement: str | None) -> None:
        def replace(stage: str) -> None:
            if stage == "judge" and replacement is None:
                process.bucket.delete("uploads/changed.csv")
            elif stage == "judge":
                put(process.bucket, "changed.csv", replacement or "")

        with pytest.raises(UploadRefused) as caught:
            process(HEADER + GOOD * 3, "changed.csv", on_stage=replace)
        assert caught.value.code == "changed_while_read"
        assert contents(process.bucket, "changed.csv") == {}

    def test_what_was_read_whole_is_written(self, process: Processing) -> None:
        def replace(stage: str) -> None:
            if stage == "write":
                put(process.bucket, "late.csv", HEADER + GOOD)

        processed = process(HEADER + GOOD * 3, "late.csv", on_stage=replace)
        assert processed.manifest.rows_in == len(processed.trips) == 3
        stored = process.bucket.head("uploads/late.csv")
        assert stored is not None
        assert processed.manifest.upload_etag != stored.etag

    def test_stages_come_in_order(self, process: Processing) -> None:
        stages: list[str] = []
        process(HEADER + GOOD, "stages.csv", on_stage=stages.append)
        assert stages == ["describe", "judge", "write"]
