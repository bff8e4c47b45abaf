"""The schedules. Off by default on a laptop, where nobody waits for them."""

from dagster import DefaultScheduleStatus, ScheduleDefinition

from h3_pipeline.jobs import reconcile_warehouse

reconcile_daily = ScheduleDefinition(
    name="reconcile_daily",
    job=reconcile_warehouse,
    cron_schedule="0 4 * * *",
    default_status=DefaultScheduleStatus.STOPPED,
    description="Every night: hourly tables against a recount, uploads against the bucket.",
)
