"""One tick, one run, all on: traces at a collector, metrics on stdout, a log of JSON, a password nowhere."""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from dagster import DagsterInstance, SensorResult, build_sensor_context

from h3_pipeline.definitions import build_definitions
from h3_pipeline.ops import observed as ops_observed
from h3_pipeline.ops import tracing as ops_tracing
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.resources import TracedPipelineResource, pipeline_resource
from h3_pipeline.sensors import uploads_sensor
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.telemetry import metric_names as names
from h3_pipeline_tests.conftest import REPOSITORY
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.servers.aws import aws_services
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from h3_pipeline_tests.servers.clickhouse_state import ReceivedStatement
from h3_pipeline_tests.servers.otlp import ReceivedSpan, collector

DOCUMENT = REPOSITORY / "docs" / "observability.md"
PASSWORD = "correct-horse-battery"

_LOGS = """
<query_log><database>system</database><table>query_log</table><flush_interval_milliseconds>100</flush_interval_milliseconds></query_log>
<opentelemetry_span_log><database>system</database><table>opentelemetry_span_log</table></opentelemetry_span_log>
"""


@dataclass(frozen=True)
class Observed:
    """What one run left.

    Attributes:
        spans: At the collector.
        statements: At the ClickHouse server.
        query_log: Queries by ``log_comment``, from ClickHouse's own log.
        stdout: Lines.
        stderr: Lines.
        home: Where Dagster stores its runs and events.
    """

    run_id: str
    spans: list[ReceivedSpan]
    server: ClickHouseServer
    statements: list[ReceivedStatement]
    query_log: list[Mapping[str, Any]]
    stdout: list[str]
    stderr: list[str]
    home: Path

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout if '"_aws"' in line]


@pytest.fixture(scope="module")
def observed(new_bucket: Callable[[], Bucket], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    bucket = new_bucket()
    folder = tmp_path_factory.mktemp("observed")
    configuration = folder / "config.xml"
    configuration.write_text(f"<clickhouse>{named_collection_configuration(bucket.access)}{_LOGS}</clickhouse>")
    with ExitStack() as held:
        otlp = held.enter_context(collector())
        aws = held.enter_context(aws_services())
        server = held.enter_context(
            clickhouse_server(folder / "data", password=PASSWORD, chdb_options={"config-file": str(configuration)})
        )
        secret = aws.client("secretsmanager").create_secret(
            Name="clickhouse", SecretString=json.dumps({"username": "default", "password": PASSWORD})
        )
        environment = {
            **aws.environment,
            "AWS_ACCESS_KEY_ID": bucket.access.access_key or "",
            "AWS_SECRET_ACCESS_KEY": bucket.access.secret_key or "",
            "S3_BUCKET": bucket.access.name,
            "S3_ENDPOINT_URL": bucket.access.endpoint_url or "",
            "CLICKHOUSE_HOST": server.host,
            "CLICKHOUSE_HTTP_PORT": str(server.port),
            "CLICKHOUSE_SECRET_ARN": secret["ARN"],
            "H3_PIPELINE_HOME": str(folder / "home"),
            "H3_METRICS": "emf",
            "H3_LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url,
            "OTEL_SERVICE_NAME": "observed",
        }
        patch = held.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        held.callback(ops_observed.start, Settings.load(h3_metrics="off", otel_exporter_otlp_endpoint=None))
        held.callback(ops_tracing.stop)
        bucket.write("uploads/good.csv", trips_csv(30, bad=2).encode(), "text/csv")
        bucket.write("uploads/refused.csv", b"x,y\n1,2\n", "text/csv")
        (folder / "dagster").mkdir()
        instance = held.enter_context(DagsterInstance.local_temp(str(folder / "dagster")))
        stdout = held.enter_context(redirect_stdout(io.StringIO()))
        stderr = held.enter_context(redirect_stderr(io.StringIO()))
        run_id = _tick_and_run(instance)
        ops_tracing.flush()
        yield Observed(
            run_id,
            otlp.spans(),
            server,
            server.statements(),
            _ask(server, _QUERY_LOG, flush=True),
            stdout.getvalue().splitlines(),
            stderr.getvalue().splitlines(),
            folder / "dagster",
        )


def _tick_and_run(instance: DagsterInstance) -> str:
    pipeline = pipeline_resource()
    assert isinstance(pipeline, TracedPipelineResource)
    with build_sensor_context(instance=instance, resources={"pipeline": pipeline}) as context:
        result = uploads_sensor(context)
    assert isinstance(result, SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(UPLOADS, list(request.partition_keys))
    [request] = result.run_requests or []
    job = build_definitions().resolve_job_def("ingest_uploads")
    executed = job.execute_in_process(
        instance=instance, tags=dict(request.tags), run_config=dict(request.run_config), raise_on_error=False
    )
    assert not executed.success  # one upload is refused
    return executed.run_id


_QUERY_LOG = (
    "SELECT query_id, query, log_comment FROM system.query_log WHERE type = 'QueryFinish' AND log_comment != ''"
)


def _ask(server: ClickHouseServer, sql: str, *, flush: bool = False, **parameters: str) -> list[Mapping[str, Any]]:
    """A query of an operator's, in a connection of its own."""
    with clickhouse_connect.get_client(host=server.host, port=server.port, password=PASSWORD) as client:
        if flush:
            client.command("SYSTEM FLUSH LOGS")
        return list(client.query(sql, parameters=parameters).named_results())


def documented(about: str) -> str:
    """A query of the documents."""
    [found] = [sql for sql in re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if about in sql]
    return found


def test_one_trace_from_the_tick_to_each_call(observed: Observed) -> None:
    [tick] = observed.named("tick uploads_sensor")
    [run] = observed.named("run ingest_uploads")
    steps = observed.named("step process_uploads") + observed.named("step load_uploads")
    assert not tick.parent_id
    assert run.parent_id == tick.span_id
    assert [step.parent_id for step in steps] == [run.span_id] * 2
    processed, loaded = steps
    assert {span.parent_id for span in observed.named("process upload")} == {processed.span_id}
    [load] = observed.named("load uploads")
    assert load.parent_id == loaded.span_id
    assert loaded.failed
    assert not processed.failed
    assert {span.trace_id for span in [run, *steps, load]} == {tick.trace_id}


def test_every_call_of_the_run_is_below_a_step(observed: Observed) -> None:
    by_id = {span.span_id: span for span in observed.spans}
    [run] = observed.named("run ingest_uploads")

    def above(span: ReceivedSpan) -> list[str]:
        names = []
        while span.parent_id:
            span = by_id[span.parent_id]
            names.append(span.name)
        return names

    calls = [s for s in observed.spans if s.trace_id == run.trace_id and s.kind == "CLIENT"]
    s3 = {s.name for s in calls if s.attributes.get("rpc.service") == "S3"}
    assert {"S3.HeadObject", "S3.GetObject", "S3.PutObject"} <= s3
    assert {"clickhouse CREATE", "clickhouse INSERT", "clickhouse ALTER"} <= {s.name for s in calls}
    for call in calls:
        path = above(call)
        assert path[-1] == "tick uploads_sensor", call
        if path != ["tick uploads_sensor"]:
            assert path[-2] == "run ingest_uploads", call
            assert path[-3].startswith("step "), call


def test_each_statement_names_its_span_to_clickhouse(observed: Observed) -> None:
    spans = {(s.trace_id, s.span_id): s for s in observed.spans}
    sent = [s for s in observed.statements if "traceparent" in s.headers and s.query]
    alters = [s for s in sent if s.query.startswith("ALTER")]
    assert alters
    for statement in sent:
        _, trace_id, span_id, flags = statement.headers["traceparent"].split("-")
        told = spans[trace_id, span_id].attributes["db.query.text"]
        assert " ".join(statement.query.split()).startswith(" ".join(told.split())[:1000])
        assert flags == "01"


def test_clickhouse_keeps_who_asked(observed: Observed) -> None:
    comments = [json.loads(str(row["log_comment"])) for row in observed.query_log]
    assert {comment["run_id"] for comment in comments} == {observed.run_id}
    loading = [c for c in comments if c.get("upload") == "good.csv"]
    assert loading
    assert {c["asset"] for c in loading} == {"cell_hourly,flow_hourly,trips"}
    assert {c["job"] for c in loading} == {"ingest_uploads"}


def test_the_documented_queries(observed: Observed) -> None:
    """The engine makes no spans of its own: one is written here as a server writes it, for the header that it got.

    It has the table, but only the network interfaces of a server begin a trace, and the engine has none of them.
    """
    [cost] = [
        row
        for row in _ask(observed.server, documented("AS statements"), run=observed.run_id)
        if row["upload"] == "good.csv"
    ]
    assert cost["statements"] > 10
    altered = next(row for row in observed.query_log if str(row["query"]).startswith("ALTER"))
    sent = next(s for s in observed.statements if s.query == altered["query"])
    _, trace_id, span_id, _ = sent.headers["traceparent"].split("-")
    _ask(observed.server, "SELECT 1", flush=True)
    with clickhouse_connect.get_client(
        host=observed.server.host, port=observed.server.port, password=PASSWORD
    ) as client:
        client.command(
            "INSERT INTO system.opentelemetry_span_log (trace_id, span_id, parent_span_id, operation_name, "
            "start_time_us, finish_time_us, attribute) SELECT toUUID({trace:String}), 7, {parent:UInt64}, 'query', "
            "1000000, 1250000, map('clickhouse.query_id', {query:String})",
            parameters={"trace": trace_id, "parent": int(span_id, 16), "query": altered["query_id"]},
        )
    [row] = _ask(observed.server, documented("AS parent_span"), trace=trace_id)
    assert row["parent_span"] == span_id
    assert (row["operation"], row["milliseconds"]) == ("query", 250)
    assert (row["upload"], row["run_id"]) == ("good.csv", observed.run_id)


def test_ids_are_xrays_and_the_process_is_named(observed: Observed) -> None:
    for span in observed.spans:
        assert abs(int(span.trace_id[:8], 16) - span.start / 1e9) < 600  # X-Ray's begin with the time
        assert span.resource["service.name"] == "observed"
        assert span.end >= span.start


def test_metrics_of_the_run(observed: Observed) -> None:
    documents = observed.metrics()

    def values(metric: names.Metric) -> list[tuple[float, str | None]]:
        key = metric.dimension.key if metric.dimension else ""
        return [(d[metric.name], d.get(key)) for d in documents if metric.name in d]

    assert values(names.ROWS_IN) == [(32, "generic")]
    assert values(names.ROWS_LOADED) == [(30, "generic")]
    assert values(names.ROWS_REJECTED) == [(2, "generic")]
    assert values(names.ROWS_REJECTED_BY_REASON) == [(2, "origin_null_island")]
    assert values(names.UPLOAD_BYTES) == [(len(trips_csv(30, bad=2)), "generic")]
    assert values(names.UPLOADS_LOADED) == [(1, "generic")]
    assert values(names.UPLOADS_REFUSED) == [(1, None)]
    assert {value for _, value in values(names.STAGE_SECONDS)} == {stage.value for stage in names.Stage}
    [(age, _)] = values(names.UPLOAD_AGE)
    assert age >= 0
    failed = {check: count for count, check in values(names.CHECK_FAILURES)}
    assert failed["reject_ratio"] == 1
    assert failed["rows_are_conserved"] == 0
    assert all(d["run_id"] == observed.run_id for d in documents)


def test_the_log_is_json_and_names_run_and_trace(observed: Observed) -> None:
    lines = [json.loads(line) for line in observed.stderr]
    [run] = observed.named("run ingest_uploads")
    [accepted] = [line for line in lines if line["message"].startswith("good.csv: 32 rows in")]
    assert accepted["run_id"] == observed.run_id
    assert accepted["asset"] == "processed_trips,upload_manifests"
    assert accepted["level"] == "info"
    assert accepted["trace_id"] == run.trace_id
    assert accepted["xray_trace_id"].replace("-", "") == "1" + run.trace_id
    [loaded] = [line for line in lines if line["message"] == "loaded good.csv: 30 rows"]
    assert loaded["upload"] == "good.csv"
    assert loaded["asset"] == "cell_hourly,flow_hourly,trips"


def test_the_password_is_in_nothing_that_was_stored_or_written(observed: Observed) -> None:
    stored = [path for path in observed.home.rglob("*") if path.is_file()]
    assert any(observed.run_id.encode() in path.read_bytes() for path in stored)
    for path in stored:
        assert PASSWORD.encode() not in path.read_bytes(), path
    assert PASSWORD not in "\n".join([*observed.stdout, *observed.stderr])
    assert PASSWORD not in str(observed.spans)
    config = build_definitions().resolve_job_def("ingest_uploads").resource_defs["pipeline"].config_schema
    assert PASSWORD not in str(config.default_value if config.default_provided else "")
