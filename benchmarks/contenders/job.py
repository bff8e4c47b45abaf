"""What a contender is asked to do, and the little that all but the pipeline do alike."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import clickhouse_connect

REGION = "New York"
TIMEZONE = "America/New_York"
KILOMETRES_PER_MILE = 1.609344


@dataclass(frozen=True, slots=True)
class Job:
    """From one CSV object to loaded tables. Credentials of the bucket are in the environment, as AWS has them.

    Attributes:
        endpoint_url: The S3 server.
        bucket: Bucket name.
        key: Whole key of the CSV.
        upload: Value of the column ``upload``.
        upload_etag: Value of the column ``upload_etag``.
        warehouse: Folder of the warehouse, still empty.
        database: Database of the tables.
        definitions: Statements that make the database and the tables.
        rollups: Statements that fill the hourly tables from ``trips``, in order.
        chunk_rows: Read so many rows at once; None reads the whole file.
        settings: Engine settings of all statements.
    """

    endpoint_url: str
    bucket: str
    key: str
    upload: str
    upload_etag: str
    warehouse: str
    database: str
    definitions: Sequence[str]
    rollups: Sequence[str]
    chunk_rows: int | None
    settings: dict[str, Any]

    @classmethod
    def from_command_line(cls) -> Self:
        """The job in the file that the first argument names."""
        with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - pathlib is one more import to measure
            return cls(**json.load(file))

    @property
    def credentials(self) -> tuple[str, str]:
        """Access key and secret key of the bucket."""
        return os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]

    def open_warehouse(self) -> Any:
        """The embedded engine, with the tables made."""
        client = clickhouse_connect.get_client(interface="chdb", path=self.warehouse, settings=self.settings)
        for statement in self.definitions:
            client.command(statement)
        client.database = self.database
        return client

    def roll_up(self, client: Any) -> None:
        """Fill the hourly tables."""
        for statement in self.rollups:
            client.command(statement)
