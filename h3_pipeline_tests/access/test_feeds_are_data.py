"""A feeds file is data: nothing in it is executed, and nothing in it reaches SQL unquoted."""

import json
from pathlib import Path

import pytest

from h3_pipeline.errors import FeedError
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline_tests.uploads import Processing

HOSTILE = [
    "'; DROP TABLE records; --",
    "\\'); SELECT file('/etc/passwd') --",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} ${HOME} $(id) `id`",
    "{region:String} %(region)s ? :1",
    "{{ table('trips') }}",
    'a"b`c\\',
    "é\u2028😀",
]


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {target}']",
        "!!python/object/new:os.system ['touch {target}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object:h3_pipeline.settings.Settings {{}}",
        "!include /etc/passwd",
        "!ENV ${{HOME}}",
    ],
)
def test_tags_make_no_objects(value: str, tmp_path: Path) -> None:
    target = tmp_path / "touched"
    text = f"feeds:\n  - name: {value.format(target=target)}\n    match: '*'\n"
    with pytest.raises(FeedError, match=r"feeds\.yaml:2: "):
        FeedCatalog.load(text)
    assert not target.exists()


def test_values_and_columns_arrive_as_they_were_written(process: Processing) -> None:
    for number, text in enumerate(HOSTILE):
        column = f"when {text}"
        feed = {
            "name": f"feed {text}".replace("\u2028", " "),
            "match": f"hostile/{number}.csv",
            "region": text.replace("\u2028", " "),
            "columns": {"started_at": column, "origin_lat": "lat", "origin_lng": "lng", "datasource": "who"},
        }
        quoted = column.replace('"', '""')
        rows = f'"{quoted}",lat,lng,who\n2024-01-01T00:00:00Z,50,14,"{text.replace(chr(34), chr(34) * 2)}"\n'
        processed = process(rows, f"hostile/{number}.csv", feeds=json.dumps({"feeds": [feed]}, ensure_ascii=False))
        [trip] = processed.sample
        assert processed.manifest.feed == feed["name"]
        assert (trip["region"], trip["datasource"]) == (feed["region"], text)


@pytest.mark.parametrize("format_", ["%Y-%m-%d' OR 1 --", "%Y'), (SELECT file('/etc/passwd')), ('%m-%d"])
def test_a_time_format_is_a_format_or_nothing(process: Processing, format_: str) -> None:
    feed = {"name": "f", "match": "*", "time_format": format_}
    with pytest.raises(FeedError, match="time_format"):
        FeedCatalog.load(json.dumps({"feeds": [feed]}))
