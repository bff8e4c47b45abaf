"""Tells when the daemon is silent. The daemon's own sensor cannot, so the webserver looks, in a thread."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance

from h3_pipeline.ops import troubles
from h3_pipeline.ops.alerts import Gathered, deliver
from h3_pipeline.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0

_KEY = "h3_pipeline/daemon_watch"
"""Where the webservers of one instance keep what was told, so that it is told once and not by each."""


def look(instance: DagsterInstance, settings: Settings) -> None:
    """Look at the heartbeats once, and tell if they are too old for long enough."""
    now = troubles.now()
    storage = instance.daemon_cursor_storage
    known = storage.get_cursor_values({_KEY}).get(_KEY)
    gathered = Gathered.from_json(json.loads(known)) if known else Gathered()
    # a daemon that was never heard of is one that is just being set up
    since = now if not instance.get_daemon_heartbeats() else troubles.BEGINNING
    gathered.add(troubles.silent_daemons(instance, since, now), now)
    message = gathered.message(now, settings.s3_bucket)
    if message is not None:
        deliver(message, settings)
        gathered.told(message, now)
    document = json.dumps(gathered.to_json())
    if document != known:
        storage.set_cursor_values({_KEY: document})


@contextmanager
def daemon_watch(instance: DagsterInstance, settings: Settings, *, seconds: float = LOOK_SECONDS) -> Iterator[None]:
    """Look every minute, for as long as the context lasts."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(seconds):
            try:
                look(instance, settings)
            except Exception as error:  # the storage is away, or the topic: the next look tries again
                logger.warning("the daemon cannot be watched: %s", " ".join(str(error).split())[:500])

    thread = threading.Thread(target=watch, name="daemon-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=seconds)
