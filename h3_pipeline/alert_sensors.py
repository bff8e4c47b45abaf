"""The sensor that tells people of troubles; what a trouble is, and how they are grouped, is in `ops`."""

import json
from datetime import timedelta

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, sensor

from h3_pipeline.ops import troubles
from h3_pipeline.ops.alerts import AlertError, Gathered, deliver
from h3_pipeline.resources import PipelineResource

SECONDS_BETWEEN_TICKS = 60


@sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Tells of failed runs and checks, silent feeds, a stale backup and silent daemons: "
    "grouped, to SNS or the log.",
)
def report_troubles(context: SensorEvaluationContext, pipeline: PipelineResource) -> SensorResult:
    """Look for troubles, and tell of those that are due."""
    now = troubles.now()
    settings = pipeline.settings()
    seen, gathered = _from_cursor(context.cursor) or (troubles.Seen.nothing(now), Gathered())
    instance = context.instance
    troubles.measure_queues(instance)
    finished = troubles.finished_runs(instance, seen)
    gathered.add(
        [
            *troubles.failed_runs(instance, finished),
            *troubles.failed_checks(instance, finished),
            *troubles.silent_feeds(instance, pipeline.user_feeds(), seen.since, now),
            *troubles.stale_backup(
                instance,
                timedelta(hours=settings.h3_backup_max_age_hours),
                seen.since,
                now,
                expected=settings.h3_alerts_topic_arn is not None,
            ),
            *troubles.silent_daemons(instance, seen.since, now),
        ],
        now,
    )
    message = gathered.message(now, f"{settings.s3_bucket}, database {settings.clickhouse_database}")
    if message is not None:
        try:
            deliver(message, settings, context.log.error)
            gathered.told(message, now)
        except AlertError as error:
            context.log.error(str(error))  # noqa: TRY400 - one line; the next tick tries again
    return SensorResult(cursor=json.dumps({"seen": seen.to_json(), "gathered": gathered.to_json()}))


def _from_cursor(cursor: str | None) -> tuple[troubles.Seen, Gathered] | None:
    """What the last tick knew; None at the start, and where the cursor is another version's."""
    if not cursor:
        return None
    try:
        document = json.loads(cursor)
        return troubles.Seen.from_json(document["seen"]), Gathered.from_json(document["gathered"])
    except (ValueError, LookupError, TypeError):
        return None
