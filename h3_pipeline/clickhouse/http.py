"""A ClickHouse server over HTTP or HTTPS."""

from collections.abc import Iterator
from contextlib import contextmanager

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from h3_pipeline.clickhouse.client import ClickHouse, first_sentence
from h3_pipeline.clickhouse.retries import STATEMENT, WORK, Failure, Patience, classify
from h3_pipeline.errors import WarehouseError


@contextmanager
def open_http(
    *,
    host: str,
    port: int,
    secure: bool,
    user: str,
    password: str,
    connect_timeout_seconds: int = 10,
    answer_timeout_seconds: int = 300,
    patience: Patience = STATEMENT,
    work_patience: Patience = WORK,
) -> Iterator[ClickHouse]:
    """Connect to a server and prove that its cells are right.

    Args:
        host: Its name or address.
        port: Its HTTP or HTTPS port.
        secure: Speak HTTPS.
        user: Login.
        password: Its password.
        connect_timeout_seconds: How long to wait for a connection.
        answer_timeout_seconds: How long the server may be silent; it reports progress while it works.
        patience: For single statements.
        work_patience: For work that begins anew each time.

    Raises:
        WarehouseError: It cannot be reached, refuses the login, or gives wrong cells.
    """
    scheme = "https" if secure else "http"
    where = f"ClickHouse at {scheme}://{host}:{port}"

    def connect() -> Client:
        return clickhouse_connect.get_client(
            host=host,
            port=port,
            interface=scheme,
            username=user,
            password=password,
            connect_timeout=connect_timeout_seconds,
            send_receive_timeout=answer_timeout_seconds,
            # what may be repeated, and how patiently, is decided in one place: ours
            query_retries=0,
            # a session would forbid two statements at once and forget nothing we need
            autogenerate_session_id=False,
        )

    try:
        # a server that does not listen at all is more likely a wrong address than a restart
        client = patience.repeat(
            connect, lambda error: isinstance(error, ClickHouseError) and classify(error) is Failure.PASSING
        )
    except ClickHouseError as error:
        raise WarehouseError(
            f"{where} cannot be used: {first_sentence(str(error))} Check CLICKHOUSE_HOST, CLICKHOUSE_HTTP_PORT, "
            "CLICKHOUSE_USER and the password."
        ) from error
    with ClickHouse(client, where, patience=patience, work_patience=work_patience) as server:
        server.prove_h3_argument_order()
        yield server
