"""The log as lines of JSON that name run, asset, upload and trace, for ``H3_LOG_FORMAT=json``.

A ``dagster.yaml`` can name the formatter too, under ``python_logs``: ``(): h3_pipeline.ops.logs.json_formatter``.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from dagster import InitLoggerContext, LoggerDefinition, colored_console_logger
from dagster._utils.log import default_date_format_string, default_format_string

from h3_pipeline.settings import Settings
from h3_pipeline.telemetry.context import current
from h3_pipeline.telemetry.tracing import current_ids

CONSOLE = {"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}
"""Run config of a run whose log is the `console_logger`'s; without it, it is Dagster's coloured one."""

_META = "dagster_meta"
_DAGSTER_NAMES = {"run_id": "run_id", "job_name": "job", "step_key": "step", "resource_name": "resource"}


def _console_logger(context: InitLoggerContext) -> logging.Logger:
    if Settings.load().h3_log_format == "text":
        return colored_console_logger.logger_fn(context)
    made = logging.Logger(context.logger_config["name"], context.logger_config["log_level"])
    made.addHandler(json_handler())
    return made


console_logger = LoggerDefinition(
    _console_logger,
    config_schema=colored_console_logger.config_schema,
    description="Text for people, or JSON for CloudWatch.",
)
"""The log of a run: coloured text, or JSON where `H3_LOG_FORMAT` says so."""


def json_handler() -> logging.Handler:
    """Writes lines of JSON to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_formatter())
    return handler


def log_to_stderr(settings: Settings) -> None:
    """Write what this project says as Dagster writes what it says: with time and level, or as JSON."""
    logger = logging.getLogger("h3_pipeline")
    if logger.handlers:
        return
    if settings.h3_log_format == "json":
        logger.addHandler(json_handler())
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(default_format_string(), default_date_format_string()))
    logger.addHandler(handler)


def json_formatter() -> logging.Formatter:
    """Makes a line of JSON of a record, of Dagster's as of any other."""
    import structlog  # which brings its colours for terminals along, for those who want JSON alone

    shared = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_dagster,
        _add_doing,
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        keep_exc_info=True,
    )


Event = MutableMapping[str, Any]


def _add_dagster(_logger: Any, _method: str, event: Event) -> Event:
    """What Dagster's log manager knows of a record; its event itself is in the event log."""
    meta = getattr(event.get("_record"), _META, None) or {}
    event.update({ours: meta[theirs] for theirs, ours in _DAGSTER_NAMES.items() if meta.get(theirs)})
    if meta.get("orig_message"):
        event["event"] = meta["orig_message"]
    return event


def _add_doing(_logger: Any, _method: str, event: Event) -> Event:
    event.update(current())
    ids = current_ids()
    if ids:
        trace, event["span_id"] = ids
        event["trace_id"] = trace
        event["xray_trace_id"] = f"1-{trace[:8]}-{trace[8:]}"
    return event
