"""Connections to Dagster's database that survive its restart.

A webserver keeps connections open from request to request. After a restart or a failover of the
database the first page for each of them would be an error.
"""

from contextlib import closing
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool


def outlive_restarts() -> None:
    """Try each connection before it is used again, in this process, and replace one that is gone."""
    if not event.contains(Pool, "checkout", _try):
        event.listen(Pool, "checkout", _try)


def _try(connection: Any, _record: Any, _proxy: Any) -> None:
    """Tell the pool of a lost connection: it opens another, and distrusts all that are as old."""
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:  # whatever it is, the connection is of no use
        raise DisconnectionError from error
