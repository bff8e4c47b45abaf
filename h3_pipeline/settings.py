"""Every setting, typed, read from the environment. Nothing else in the project reads `os.environ`."""

import re
import ssl
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from h3_pipeline.errors import SettingsError

NATIVE_PORTS = (9000, 9440)
"""Ports of ClickHouse's native protocol, which is never spoken HTTP to."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Settings(BaseSettings):
    """The project's settings. Field names are the environment variables' names, in lower case.

    Build one with `Settings.load()`, which turns a bad value into one clear `SettingsError`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    h3_pipeline_home: Path = Field(Path(".h3_pipeline"), description="Folder of all local state")
    h3_pipeline_feeds: Path | None = Field(None, description="YAML file with the user's own feeds")
    h3_exports: Path | None = Field(None, description="Folder with the user's own export queries")
    h3_exports_keep: int = Field(7, ge=1, description="Versions of each export that are kept")
    port: int = Field(3000, ge=1, le=65535, description="Port of the Dagster UI")

    clickhouse_host: str | None = Field(None, description="Warehouse host; unset means the embedded engine")
    clickhouse_port: int | None = Field(None, ge=1, le=65535, description="Native port, or an HTTP port")
    clickhouse_http_port: int | None = Field(None, ge=1, le=65535, description="HTTP port; 8123, or 8443 when secure")
    clickhouse_secure: bool = Field(False, description="Speak HTTPS to the warehouse")
    clickhouse_ca_cert: str | None = Field(
        None, description="The only authority whose HTTPS certificates are taken: a PEM file, or its text"
    )
    clickhouse_user: str = Field("default", description="Login at the warehouse")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="Its password")
    clickhouse_secret_arn: str | None = Field(
        None, description="Secret in Secrets Manager with the password, read again when the server refuses it"
    )
    clickhouse_database: str = Field(
        "h3_pipeline", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="Database of all tables"
    )
    clickhouse_cluster: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$", description="Cluster whose nodes hold the tables"
    )
    clickhouse_replicated: bool = Field(
        True, description="Its shards have replicas, which needs Keeper; 0 for shards of one server each"
    )
    clickhouse_sharding: Literal["off", "upload"] = Field(
        "off", description="`upload` spreads the uploads over the cluster's shards, and reads them from all"
    )

    aws_region: str = Field(
        "us-east-1", validation_alias=AliasChoices("aws_region", "aws_default_region"), description="Region on AWS"
    )
    s3_bucket: str = Field(
        "trips-data-bucket", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="Bucket of all prefixes"
    )
    s3_endpoint_url: str | None = Field(None, description="S3 server other than AWS")
    uploads_queue_url: str | None = Field(None, description="SQS queue with the bucket's events; unset means listings")

    h3_auth_alb_arn: str | None = Field(
        None,
        pattern=r"^arn:\S+$",
        description="Load balancer whose signed-in users the webserver lets in, and no others",
    )
    h3_auth_keys_url: str | None = Field(None, description="Where its public keys are; by default the region's address")

    h3_resolution: int = Field(10, ge=0, le=15, description="Base resolution of the trips' cells")
    h3_rollup_resolutions: Annotated[tuple[int, ...], NoDecode] = Field(
        (9, 8, 7, 6, 5), description="Resolutions of the hourly tables, comma-separated"
    )
    h3_timezone: str = Field("UTC", description="Time zone of the schedules, such as Europe/Prague")
    h3_backup_keep: int = Field(4, ge=1, description="Full backups to keep, each with all that rest on it")
    h3_drill_max_age_days: float = Field(8, gt=0, description="A newest good restore drill older than this is an alarm")
    h3_max_reject_ratio: float = Field(0.5, ge=0, le=1, description="Refuse an upload with a larger share of bad rows")
    h3_prune_after_days: int = Field(
        90, ge=1, description="Drop the partition of an upload that left the bucket so long after it was loaded"
    )

    h3_log_format: Literal["text", "json"] = Field("text", description="How runs and sensors write their log")
    h3_metrics: Literal["off", "emf"] = Field(
        "off", description="Write metrics to stdout in CloudWatch's embedded metric format"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="OpenTelemetry collector that takes OTLP over HTTP; unset traces nothing",
    )
    h3_alerts_topic_arn: str | None = Field(
        None, pattern=r"^arn:\S+$", description="SNS topic of alerts; unset writes them to the log"
    )
    h3_backup_max_age_hours: float = Field(36, gt=0, description="Alert when the last backup is older")

    @field_validator("h3_rollup_resolutions", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("h3_timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # not found, an absolute path, a folder
            raise ValueError(f"{name!r} is no time zone; names are like Europe/Prague") from None
        return name

    @field_validator("clickhouse_http_port")
    @classmethod
    def _speaks_http(cls, port: int | None) -> int | None:
        if port in NATIVE_PORTS:
            raise ValueError(f"{port} is a port of ClickHouse's native protocol; HTTP is on 8123, HTTPS on 8443")
        return port

    @field_validator("clickhouse_ca_cert")
    @classmethod
    def _holds_a_certificate(cls, value: str | None) -> str | None:
        if value is None:
            return None
        what, text = ("the text", value) if "-----BEGIN" in value else (value, _text_of(Path(value)))
        # bundles have comments, in any language
        certificates = "".join(f"{found[0]}\n" for found in _CERTIFICATE.finditer(text))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
        except (ssl.SSLError, ValueError):
            raise ValueError(f"{what} holds no certificate in PEM format") from None
        return certificates

    @model_validator(mode="after")
    def _shards_are_somewhere(self) -> Self:
        if self.clickhouse_sharding != "off" and not (self.clickhouse_host and self.clickhouse_cluster):
            raise ValueError("CLICKHOUSE_SHARDING needs CLICKHOUSE_HOST and CLICKHOUSE_CLUSTER, whose shards are meant")
        return self

    @model_validator(mode="after")
    def _rollups_are_coarser(self) -> Self:
        resolutions = self.h3_rollup_resolutions
        if not resolutions or any(not 0 <= r <= self.h3_resolution for r in resolutions):
            raise ValueError(
                f"H3_ROLLUP_RESOLUTIONS must be between 0 and H3_RESOLUTION ({self.h3_resolution}), not {resolutions}"
            )
        if len(set(resolutions)) != len(resolutions):
            raise ValueError(f"H3_ROLLUP_RESOLUTIONS names a resolution twice: {resolutions}")
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment.

        Raises:
            SettingsError: A variable has an unusable value; the message names it.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]).upper()
            message = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"{name}: {message}" if name else message) from None

    @cached_property
    def home(self) -> Path:
        """Absolute path of the folder of all local state."""
        return self.h3_pipeline_home.expanduser().resolve()

    @property
    def embedded(self) -> bool:
        """Whether the warehouse is the engine inside this process."""
        return self.clickhouse_host is None

    @property
    def local_object_store(self) -> bool:
        """Whether the bucket is on a local server that this project starts."""
        return self.embedded and self.s3_endpoint_url is None

    @property
    def warehouse_http_port(self) -> int:
        """The port to speak HTTP(S) to."""
        if self.clickhouse_http_port is not None:
            return self.clickhouse_http_port
        if self.clickhouse_port is not None and self.clickhouse_port not in NATIVE_PORTS:
            return self.clickhouse_port
        return 8443 if self.clickhouse_secure else 8123


def _text_of(file: Path) -> str:
    try:
        return file.expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
