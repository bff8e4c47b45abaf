"""``restore``: the tables as they were when a backup was taken."""

import json
import re
from datetime import UTC, datetime

from h3_pipeline.cli import screen
from h3_pipeline.cli.backup import bucket_and_warehouse
from h3_pipeline.errors import SettingsError
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse.backup_restore import restore_backup

_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_NAMED = 5


def restore(*, at: str, to: str, overwrite: bool, as_json: bool) -> int:
    """Restore a backup."""
    not_after = _time(at) if at else None
    if to and not _DATABASE.fullmatch(to):
        raise SettingsError(f"--to: {to!r} is no name of a database: letters, digits and _, 63 at most")
    with bucket_and_warehouse(Settings.load(), "Restoring") as (bucket, warehouse, on_progress):
        restored = restore_backup(
            warehouse, bucket, at=not_after, to=to or None, overwrite=overwrite, on_progress=on_progress
        )
    manifest = restored.manifest
    if as_json:
        answer = {
            "backup": manifest.name,
            "taken_at": manifest.taken_at.isoformat(),
            "database": restored.database,
            "rows": {table: content.rows for table, content in manifest.tables.items()},
            "not_in_backup": restored.not_in_backup,
            "seconds": restored.seconds,
        }
        screen.say(json.dumps(answer, ensure_ascii=False, indent=2))
        return 0
    rows = ", ".join(f"{table} {content.rows:,}" for table, content in manifest.tables.items())
    screen.say(
        f"{restored.database} is what it was at {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, compared row by row with "
        f"backup {manifest.name} ({restored.seconds:.1f} s): {rows}"
    )
    if restored.not_in_backup:
        first = ", ".join(restored.not_in_backup[:_NAMED])
        more = ", …" if len(restored.not_in_backup) > _NAMED else ""
        screen.say(
            f"{screen.counted(len(restored.not_in_backup), 'upload')} in the bucket that it does not hold in that "
            f"version; materialize them in Dagster to load them: {first}{more}"
        )
    return 0


def _time(text: str) -> datetime:
    """A time as a user writes it, in UTC."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(f"--at: {text!r} is no time; write it like 2026-11-20T12:00, in UTC") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
