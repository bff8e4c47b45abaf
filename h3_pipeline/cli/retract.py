"""``retract``: uploads out of the tables."""

from collections.abc import Sequence

from h3_pipeline.cli import screen
from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.storage import prefixes
from h3_pipeline.warehouse.connect import Shards, open_shard
from h3_pipeline.warehouse.overview import known_uploads
from h3_pipeline.warehouse.sharding import Shard


def retract(keys: Sequence[str]) -> int:
    """Take uploads out of every table; all keys are looked up before the first is taken out."""
    settings = Settings.load()
    known: dict[Shard, set[str]] = {}
    for shard in Shards(settings).all:
        with open_shard(settings, shard, None, on_wait=screen.note) as warehouse:
            known[shard] = known_uploads(warehouse.engine, warehouse.placement)
    wanted = list(dict.fromkeys(_known_key(key, set().union(*known.values())) for key in keys))
    for shard, uploads in known.items():
        here = [key for key in wanted if key in uploads]
        if not here:
            continue
        with open_shard(settings, shard, None, on_wait=screen.note) as warehouse:
            for key in here:
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
