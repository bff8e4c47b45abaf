"""``stop``: ends the local object store."""

from h3_pipeline.cli.screen import say
from h3_pipeline.local import object_store
from h3_pipeline.settings import Settings


def stop() -> int:
    """Stop the object store of the home."""
    home = Settings.load().home
    stopped = object_store.stop(home)
    say(f"The bucket of {home} is stopped." if stopped else f"The bucket of {home} was not running.")
    return 0
