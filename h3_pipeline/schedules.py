"""The schedules. Off by default on a laptop, where nobody waits for them."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dagster import (
    DagsterInvalidDefinitionError,
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
)

from h3_pipeline.exports.catalog import Query
from h3_pipeline.jobs import back_up_warehouse, check_backups, drill_restore, reconcile_warehouse
from h3_pipeline.pruning import prune_partitions
from h3_pipeline.settings import Settings

_SETTINGS = Settings.load()
_BY_DEFAULT = DefaultScheduleStatus.STOPPED if _SETTINGS.embedded else DefaultScheduleStatus.RUNNING


def _local_schedule(name: str, job: Any, cron: str, description: str) -> ScheduleDefinition:
    """One in the deployment's time zone, which runs by default where there is a server."""
    return ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=_SETTINGS.h3_timezone,
        default_status=_BY_DEFAULT,
        description=description,
    )


reconcile_daily = _local_schedule(
    "reconcile_daily",
    reconcile_warehouse,
    "0 4 * * *",
    "Every night: hourly tables against a recount, uploads against the bucket.",
)

back_up_daily = _local_schedule(
    "back_up_daily",
    back_up_warehouse,
    "30 2 * * *",
    "Every night; the first backup that finds no full one younger than six and a half days is full.",
)

drill_weekly = _local_schedule(
    "drill_weekly",
    drill_restore,
    "30 5 * * 1",
    "Every Monday morning: the newest backup, restored beside the live tables.",
)

check_backups_daily = _local_schedule(
    "check_backups_daily",
    check_backups,
    "0 8 * * *",
    "Every morning: is the newest backup recent, and the newest good restore drill?",
)

prune_daily = _local_schedule(
    "prune_daily",
    prune_partitions,
    "0 6 * * *",
    "Every morning: partitions whose uploads have left the bucket are dropped.",
)

BACKUP_SCHEDULES = (back_up_daily, drill_weekly, check_backups_daily)


def export_schedules(queries: Iterable[Query], jobs: Mapping[str, Any]) -> list[ScheduleDefinition]:
    """A schedule for each export whose header has one, ``export_NAME``; a day or month is exported when it is over.

    Args:
        queries: The exports.
        jobs: Their jobs, by name.

    Raises:
        ExportError: A header's schedule is no cron expression.
    """
    return [_export_schedule(query, jobs[f"export_{query.name}"]) for query in queries if query.header.schedule]


def _export_schedule(query: Query, job: Any) -> ScheduleDefinition:
    def request(context: ScheduleEvaluationContext) -> RunRequest:
        today = context.scheduled_execution_time.astimezone(ZoneInfo(_SETTINGS.h3_timezone)).date()
        return RunRequest(partition_key=_last_whole_partition(query, today))

    try:
        return ScheduleDefinition(
            name=f"export_{query.name}",
            job=job,
            cron_schedule=query.header.schedule,
            execution_timezone=_SETTINGS.h3_timezone,
            default_status=_BY_DEFAULT,
            execution_fn=request,
            description=query.header.title,
        )
    except DagsterInvalidDefinitionError:
        raise query.fault(("schedule",), f"{query.header.schedule!r} is no cron expression") from None


def _last_whole_partition(query: Query, today: date) -> str | None:
    """The day or month that is over, as of a day."""
    current = query.header.partition.containing(today)
    if current is None:
        return None
    last = query.header.partition.containing(current.start - timedelta(days=1))
    return last.key if last else None
