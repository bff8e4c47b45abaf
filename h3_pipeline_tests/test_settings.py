"""Every setting: its default, its variable, and the message for a value that cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from h3_pipeline.errors import SettingsError
from h3_pipeline.settings import Settings

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBfjCCASOgAwIBAgIUTNLxEQgX2OfDyDLpoGzFvf3H0/QwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQQ2xpY2tIb3VzZSBub2RlczAeFw0yNjExMjgxNTUyNDRaFw0z
NjExMjUxNjUyNDRaMBsxGTAXBgNVBAMMEENsaWNrSG91c2Ugbm9kZXMwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAATKNsGXPcTo2CeUjnWipIYeEmCWKl/iFb1XBDGp
VwQL4NOOl1zTWzpLG6uBAGzoEZBiUP0mUeKdGT0awvU4kYWbo0UwQzASBgNVHRMB
Af8ECDAGAQH/AgEAMA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQUInuCl7fQFBcO
paVmt9mqjciY5R4wCgYIKoZIzj0EAwIDSQAwRgIhAK7jy1o5l/0ALl6tsCe+I3cM
0rp11GNzZp0ZQLz2zEY7AiEAjV5gqnGem8cqXPP6CbpekVnpnmDflwH1I05Sv/kC
Xm4=
-----END CERTIFICATE-----
"""

DEFAULTS: dict[str, Any] = {
    "h3_pipeline_home": Path(".h3_pipeline"),
    "h3_pipeline_feeds": None,
    "h3_exports": None,
    "h3_exports_keep": 7,
    "port": 3000,
    "clickhouse_host": None,
    "clickhouse_port": None,
    "clickhouse_http_port": None,
    "clickhouse_secure": False,
    "clickhouse_ca_cert": None,
    "clickhouse_user": "default",
    "clickhouse_secret_arn": None,
    "clickhouse_database": "h3_pipeline",
    "clickhouse_cluster": None,
    "clickhouse_replicated": True,
    "clickhouse_sharding": "off",
    "aws_region": "us-east-1",
    "s3_bucket": "trips-data-bucket",
    "s3_endpoint_url": None,
    "uploads_queue_url": None,
    "h3_auth_alb_arn": None,
    "h3_auth_keys_url": None,
    "h3_resolution": 10,
    "h3_rollup_resolutions": (9, 8, 7, 6, 5),
    "h3_timezone": "UTC",
    "h3_backup_keep": 4,
    "h3_drill_max_age_days": 8.0,
    "h3_max_reject_ratio": 0.5,
    "h3_prune_after_days": 90,
    "h3_log_format": "text",
    "h3_metrics": "off",
    "otel_exporter_otlp_endpoint": None,
    "h3_alerts_topic_arn": None,
    "h3_backup_max_age_hours": 36.0,
}

USABLE = [
    ("H3_PIPELINE_HOME", "/srv/state", Path("/srv/state")),
    ("H3_PIPELINE_FEEDS", "feeds.yaml", Path("feeds.yaml")),
    ("H3_EXPORTS", "questions", Path("questions")),
    ("H3_EXPORTS_KEEP", "1", 1),
    ("PORT", "8080", 8080),
    ("CLICKHOUSE_HOST", "warehouse.internal", "warehouse.internal"),
    ("CLICKHOUSE_PORT", "9000", 9000),
    ("CLICKHOUSE_HTTP_PORT", "18123", 18123),
    ("CLICKHOUSE_SECURE", "1", True),
    ("CLICKHOUSE_SECURE", "true", True),
    ("CLICKHOUSE_SECURE", "0", False),
    ("CLICKHOUSE_CA_CERT", f"of ours:\n{CERTIFICATE}", CERTIFICATE),
    ("CLICKHOUSE_USER", "loader", "loader"),
    ("CLICKHOUSE_SECRET_ARN", "arn:aws:secretsmanager:x", "arn:aws:secretsmanager:x"),
    ("CLICKHOUSE_DATABASE", "trips_2", "trips_2"),
    ("CLICKHOUSE_CLUSTER", "main-cluster", "main-cluster"),
    ("CLICKHOUSE_REPLICATED", "0", False),
    ("CLICKHOUSE_SHARDING", "off", "off"),
    ("AWS_REGION", "eu-central-1", "eu-central-1"),
    ("S3_BUCKET", "my.bucket-1", "my.bucket-1"),
    ("S3_ENDPOINT_URL", "http://127.0.0.1:9", "http://127.0.0.1:9"),
    ("UPLOADS_QUEUE_URL", "https://sqs/queue", "https://sqs/queue"),
    ("H3_AUTH_ALB_ARN", "arn:aws:elasticloadbalancing:x", "arn:aws:elasticloadbalancing:x"),
    ("H3_AUTH_KEYS_URL", "http://127.0.0.1:9/keys", "http://127.0.0.1:9/keys"),
    ("H3_RESOLUTION", "15", 15),
    ("H3_ROLLUP_RESOLUTIONS", "7", (7,)),
    ("H3_ROLLUP_RESOLUTIONS", " 8, 6 ,4,", (8, 6, 4)),
    ("H3_ROLLUP_RESOLUTIONS", "10,0", (10, 0)),
    ("H3_TIMEZONE", "Europe/Prague", "Europe/Prague"),
    ("H3_BACKUP_KEEP", "2", 2),
    ("H3_DRILL_MAX_AGE_DAYS", "1.5", 1.5),
    ("H3_MAX_REJECT_RATIO", "0", 0.0),
    ("H3_MAX_REJECT_RATIO", "1", 1.0),
    ("H3_PRUNE_AFTER_DAYS", "30", 30),
    ("H3_LOG_FORMAT", "json", "json"),
    ("H3_METRICS", "emf", "emf"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    ("H3_ALERTS_TOPIC_ARN", "arn:aws:sns:us-east-1:1:alerts", "arn:aws:sns:us-east-1:1:alerts"),
    ("H3_BACKUP_MAX_AGE_HOURS", "12", 12.0),
]

UNUSABLE = [
    ("H3_EXPORTS_KEEP", "0"),
    ("PORT", "http"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("CLICKHOUSE_PORT", "x"),
    ("CLICKHOUSE_HTTP_PORT", "-1"),
    ("CLICKHOUSE_HTTP_PORT", "9000"),
    ("CLICKHOUSE_HTTP_PORT", "9440"),
    ("CLICKHOUSE_SECURE", "perhaps"),
    ("CLICKHOUSE_CA_CERT", "/nowhere/ca.pem"),
    ("CLICKHOUSE_CA_CERT", "/"),
    ("CLICKHOUSE_CA_CERT", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
    ("CLICKHOUSE_CA_CERT", __file__),
    ("CLICKHOUSE_DATABASE", "a-b"),
    ("CLICKHOUSE_DATABASE", "x`; DROP"),
    ("CLICKHOUSE_CLUSTER", "it's"),
    ("CLICKHOUSE_REPLICATED", "perhaps"),
    ("CLICKHOUSE_SHARDING", "region"),
    ("S3_BUCKET", "Trips"),
    ("S3_BUCKET", "a_b"),
    ("H3_AUTH_ALB_ARN", "load-balancer"),
    ("H3_RESOLUTION", "16"),
    ("H3_RESOLUTION", "ten"),
    ("H3_ROLLUP_RESOLUTIONS", "9,x"),
    ("H3_ROLLUP_RESOLUTIONS", "11"),
    ("H3_ROLLUP_RESOLUTIONS", "-1"),
    ("H3_ROLLUP_RESOLUTIONS", "9,9"),
    ("H3_ROLLUP_RESOLUTIONS", ","),
    ("H3_TIMEZONE", "Mars/Olympus"),
    ("H3_TIMEZONE", "/etc/localtime"),
    ("H3_TIMEZONE", "Europe"),
    ("H3_BACKUP_KEEP", "0"),
    ("H3_DRILL_MAX_AGE_DAYS", "0"),
    ("H3_MAX_REJECT_RATIO", "1.5"),
    ("H3_MAX_REJECT_RATIO", "nan"),
    ("H3_MAX_REJECT_RATIO", "half"),
    ("H3_PRUNE_AFTER_DAYS", "0"),
    ("H3_LOG_FORMAT", "xml"),
    ("H3_METRICS", "statsd"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
    ("H3_ALERTS_TOPIC_ARN", "alerts"),
    ("H3_BACKUP_MAX_AGE_HOURS", "0"),
]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*DEFAULTS, "clickhouse_password", "aws_default_region"]:
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults() -> None:
    settings = Settings.load()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.clickhouse_password.get_secret_value() == ""
    assert Settings.model_fields.keys() == DEFAULTS.keys() | {"clickhouse_password"}


@pytest.mark.parametrize(("variable", "text", "value"), USABLE)
def test_variable(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: object) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings.load(), variable.lower()) == value


def test_every_variable_was_tried() -> None:
    assert {variable.lower() for variable, _, _ in USABLE} == DEFAULTS.keys()


@pytest.mark.parametrize(("variable", "text"), UNUSABLE)
def test_the_message_for_an_unusable_value_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    message = str(caught.value)
    assert variable in message
    assert "\n" not in message


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name.upper(), "")
    assert getattr(Settings.load(), name) == DEFAULTS[name]


def test_the_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "hunter2")
    settings = Settings.load()
    assert settings.clickhouse_password.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_the_region_may_be_in_the_variable_that_older_tools_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert Settings.load().aws_region == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert Settings.load().aws_region == "eu-west-2"


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, 8123),
        ({"CLICKHOUSE_SECURE": "1"}, 8443),
        ({"CLICKHOUSE_PORT": "9000"}, 8123),
        ({"CLICKHOUSE_PORT": "9440", "CLICKHOUSE_SECURE": "1"}, 8443),
        ({"CLICKHOUSE_PORT": "9440"}, 8123),
        ({"CLICKHOUSE_PORT": "18123"}, 18123),
        ({"CLICKHOUSE_PORT": "9000", "CLICKHOUSE_HTTP_PORT": "18123"}, 18123),
        ({"CLICKHOUSE_PORT": "8443", "CLICKHOUSE_HTTP_PORT": "18123"}, 18123),
    ],
)
def test_the_native_port_is_never_spoken_http_to(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], port: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings.load().warehouse_http_port == port


@pytest.mark.parametrize(
    ("overrides", "embedded", "local_object_store"),
    [
        ({}, True, True),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, True, False),
        ({"clickhouse_host": "warehouse"}, False, False),
    ],
)
def test_what_is_local(overrides: dict[str, str], embedded: bool, local_object_store: bool) -> None:
    settings = Settings.load(**overrides)
    assert (settings.embedded, settings.local_object_store) == (embedded, local_object_store)


def test_the_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load().home == tmp_path.resolve() / ".h3_pipeline"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("H3_PIPELINE_HOME", "~/state")
    assert Settings.load().home == tmp_path / "state"
