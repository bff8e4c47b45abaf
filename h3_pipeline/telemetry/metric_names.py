"""Every metric: its name, unit and dimensions. Dashboards and alarms read them from here; it needs nothing else.

A dimension multiplies the metrics that CloudWatch keeps and bills, so its values are few: `limit` of them at most, each
admitted by name (`telemetry.metrics.admit`). Whatever else is said becomes `OTHER`. What has no bounds, such as an
upload's name, is a property of the log line instead.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType

NAMESPACE = "H3Pipeline"

OTHER = "other"
"""The value of a dimension that was not admitted."""


class Unit(StrEnum):
    """Units as CloudWatch spells them."""

    COUNT = "Count"
    BYTES = "Bytes"
    SECONDS = "Seconds"


class Stage(StrEnum):
    """What an upload goes through, in order."""

    DESCRIBE = "describe"
    JUDGE = "judge"
    WRITE = "write"
    STAGE = "stage"
    ROLL_UP = "roll up"
    PUBLISH = "publish"
    RECORD = "record"


class Dimension(Enum):
    """By what a metric may be broken down, and into how many values at most.

    Attributes:
        key: Name in CloudWatch.
        limit: Values that are admitted at most.
    """

    FEED = ("Feed", 50)
    REASON = ("Reason", 40)
    STAGE = ("Stage", len(Stage))
    CHECK = ("Check", 60)
    JOB = ("Job", 30)

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit


class Statistic(StrEnum):
    """How a metric's values of a period make one number."""

    SUM = "Sum"
    MAXIMUM = "Maximum"
    P90 = "p90"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: Name in CloudWatch.
        unit: Unit of its values.
        description: What it counts or measures.
        statistic: The statistic that a dashboard shows.
        dimension: By what it is broken down, beside its total; None for the total alone.
    """

    name: str
    unit: Unit
    description: str
    statistic: Statistic = Statistic.SUM
    dimension: Dimension | None = None


ROWS_IN = Metric("RowsIn", Unit.COUNT, "Rows of accepted uploads, as read", dimension=Dimension.FEED)
ROWS_LOADED = Metric("RowsLoaded", Unit.COUNT, "Rows that became trips", dimension=Dimension.FEED)
ROWS_REJECTED = Metric("RowsRejected", Unit.COUNT, "Rows refused", dimension=Dimension.FEED)
ROWS_REJECTED_BY_REASON = Metric(
    "RowsRejectedByReason", Unit.COUNT, "Rows refused, by reason", dimension=Dimension.REASON
)
UPLOAD_BYTES = Metric("UploadBytes", Unit.BYTES, "Size of accepted uploads, as stored", dimension=Dimension.FEED)
UPLOADS_LOADED = Metric("UploadsLoaded", Unit.COUNT, "Uploads loaded into the warehouse", dimension=Dimension.FEED)
UPLOADS_REFUSED = Metric("UploadsRefused", Unit.COUNT, "Uploads refused whole")
STAGE_SECONDS = Metric(
    "StageSeconds", Unit.SECONDS, "Time of an upload in a stage", Statistic.P90, dimension=Dimension.STAGE
)
UPLOAD_AGE = Metric(
    "UploadAgeAtLoad",
    Unit.SECONDS,
    "From the last change of the object until its rows are published",
    Statistic.P90,
    dimension=Dimension.FEED,
)
FILES_WAITING = Metric("FilesWaiting", Unit.COUNT, "Uploads that were seen and have no verdict yet", Statistic.MAXIMUM)
QUEUE_DEPTH = Metric("QueueDepth", Unit.COUNT, "Runs that wait in Dagster's queue", Statistic.MAXIMUM)
RUNS_FAILED = Metric("RunsFailed", Unit.COUNT, "Runs that failed", dimension=Dimension.JOB)
CHECK_FAILURES = Metric("CheckFailures", Unit.COUNT, "Asset checks that failed", dimension=Dimension.CHECK)
BACKUP_AGE = Metric("BackupAge", Unit.SECONDS, "Time since the last backup that succeeded", Statistic.MAXIMUM)
DAEMON_SILENCE = Metric(
    "DaemonSilence", Unit.SECONDS, "Time since the daemon that was heard longest ago was heard", Statistic.MAXIMUM
)

METRICS: tuple[Metric, ...] = (
    ROWS_IN,
    ROWS_LOADED,
    ROWS_REJECTED,
    ROWS_REJECTED_BY_REASON,
    UPLOAD_BYTES,
    UPLOADS_LOADED,
    UPLOADS_REFUSED,
    STAGE_SECONDS,
    UPLOAD_AGE,
    FILES_WAITING,
    QUEUE_DEPTH,
    RUNS_FAILED,
    CHECK_FAILURES,
    BACKUP_AGE,
    DAEMON_SILENCE,
)
"""All of them, in the order in which a dashboard shows them."""

BY_NAME = MappingProxyType({metric.name: metric for metric in METRICS})
"""All of them, by name."""
