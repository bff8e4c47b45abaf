"""A ClickHouse server over HTTP or HTTPS."""

from collections.abc import Iterator
from contextlib import contextmanager

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from h3_pipeline.clickhouse.client import ClickHouse, first_sentence
from h3_pipeline.errors import WarehouseError


@contextmanager
def open_http(
    *, host: str, port: int, secure: bool, user: str, password: str, connect_timeout_seconds: int = 10
) -> Iterator[ClickHouse]:
    """Connect to a server and prove that its cells are right.

    Raises:
        WarehouseError: It cannot be reached, refuses the login, or gives wrong cells.
    """
    scheme = "https" if secure else "http"
    where = f"ClickHouse at {scheme}://{host}:{port}"
    try:
        client = clickhouse_connect.get_client(
            host=host,
            port=port,
            interface=scheme,
            username=user,
            password=password,
            connect_timeout=connect_timeout_seconds,
            # one publish runs from several threads in tests and never needs a session
            autogenerate_session_id=False,
        )
    except ClickHouseError as error:
        raise WarehouseError(
            f"{where} cannot be used: {first_sentence(str(error))} Check CLICKHOUSE_HOST, CLICKHOUSE_HTTP_PORT, "
            "CLICKHOUSE_USER and the password."
        ) from error
    with ClickHouse(client, where) as server:
        server.prove_h3_argument_order()
        yield server
