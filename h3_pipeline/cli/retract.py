"""``retract``: uploads out of the tables."""

from collections.abc import Sequence

from h3_pipeline.cli import screen
from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.storage import prefixes
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.overview import known_uploads


def retract(keys: Sequence[str]) -> int:
    """Take uploads out of every table; all keys are looked up before the first is taken out."""
    settings = Settings.load()
    with open_warehouse(settings, None, on_wait=screen.note) as warehouse:
        known = known_uploads(warehouse.engine, warehouse.placement)
        for key in dict.fromkeys(_known_key(key, known) for key in keys):
            with screen.stage(f"Retracting {key}"):
                rows = warehouse.retract(key)
            screen.say(f"{key}: {screen.counted(rows, 'row')} taken out of trips, and of every hourly table")
    return 0


def _known_key(key: str, known: set[str]) -> str:
    """The key as the warehouse has it; people also write it with ``uploads/`` before it."""
    for candidate in (key, key.removeprefix(prefixes.UPLOADS)):
        if candidate in known:
            return candidate
    raise WarehouseError(f"{key} is not in the warehouse; `h3-pipeline status` lists what is")
