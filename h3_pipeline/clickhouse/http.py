"""A ClickHouse server over HTTP or HTTPS."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ssl import SSLCertVerificationError

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httputil import get_pool_manager_options
from urllib3 import PoolManager

from h3_pipeline.clickhouse.client import ClickHouse, first_sentence
from h3_pipeline.clickhouse.credentials import AuthenticationCode, Credentials, Login
from h3_pipeline.clickhouse.retries import STATEMENT, WORK, Failure, Patience, classify
from h3_pipeline.errors import WarehouseError

logger = logging.getLogger(__name__)


@contextmanager
def open_http(
    *,
    host: str,
    port: int,
    secure: bool,
    credentials: Credentials,
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
        credentials: The login; another is asked for whenever the server refuses it. Also whose certificate it must
            have.
        connect_timeout_seconds: How long to wait for a connection.
        answer_timeout_seconds: How long the server may be silent; it reports progress while it works.
        patience: For single statements.
        work_patience: For work that begins anew each time.

    Raises:
        WarehouseError: It cannot be reached, cannot prove who it is, refuses the login, or gives wrong cells.
    """
    scheme = "https" if secure else "http"
    where = f"ClickHouse at {scheme}://{host}:{port}"
    pool = _pool(credentials.authority) if secure and credentials.authority else None

    def connect(login: Login) -> Client:
        return clickhouse_connect.get_client(
            host=host,
            port=port,
            interface=scheme,
            username=login.user,
            password=login.password,
            connect_timeout=connect_timeout_seconds,
            send_receive_timeout=answer_timeout_seconds,
            # what may be repeated, and how patiently, is decided in one place: ours
            query_retries=0,
            # a session would forbid two statements at once and forget nothing we need
            autogenerate_session_id=False,
            pool_mgr=pool,
        )

    door = _Door(connect, credentials, where, patience)
    try:
        with ClickHouse(
            door.enter(), where, patience=patience, work_patience=work_patience, log_in_again=door.enter_anew
        ) as server:
            server.prove_h3_argument_order()
            yield server
    finally:
        if pool:
            pool.clear()  # the client closes only pools that it made itself


def _pool(authority: str) -> PoolManager:
    """Connections to servers with a certificate of one authority; directly, for such a server is in our own network."""
    # the client's own option is the name of a file
    return PoolManager(**get_pool_manager_options(), ca_cert_data=authority)


class _Door:
    """Connects, with the login that the server takes."""

    def __init__(
        self, connect: Callable[[Login], Client], credentials: Credentials, where: str, patience: Patience
    ) -> None:
        self._connect = connect
        self._credentials = credentials
        self._where = where
        self._patience = patience
        self._login = credentials.login()

    def enter(self) -> Client:
        """A connection.

        Raises:
            WarehouseError: The server cannot be reached, or takes no login that there is.
        """
        try:
            return self._patiently()
        except ClickHouseError as error:
            if getattr(error, "code", None) not in frozenset(AuthenticationCode):
                raise self._failure(error) from error
            client = self.enter_anew()
            if client is None:
                raise self._failure(error) from error
            return client

    def enter_anew(self) -> Client | None:
        """A connection with a newer login than the one that was refused; None if there is no newer one."""
        login = self._credentials.after_refusal(self._login)
        if login is None:
            return None
        logger.info("%s refused the login; trying again with the one that the secret holds now", self._where)
        self._login = login
        try:
            return self._patiently()
        except ClickHouseError as error:
            raise self._failure(error) from error

    def _patiently(self) -> Client:
        # a server that does not listen at all is more likely a wrong address than a restart
        return self._patience.repeat(
            lambda: self._connect(self._login),
            lambda error: isinstance(error, ClickHouseError) and classify(error) is Failure.PASSING,
        )

    def _failure(self, error: ClickHouseError) -> WarehouseError:
        doubt = _certificate_error(error)
        if doubt is not None:
            return WarehouseError(
                f"{self._where} cannot prove who it is: {doubt}. Check that CLICKHOUSE_CA_CERT is the authority of its "
                "certificate (unset: the system's authorities), and that the certificate names CLICKHOUSE_HOST."
            )
        return WarehouseError(
            f"{self._where} cannot be used: {first_sentence(str(error))} Check CLICKHOUSE_HOST, CLICKHOUSE_HTTP_PORT, "
            "CLICKHOUSE_USER and the password."
        )


def _certificate_error(error: BaseException) -> str | None:
    """Why a certificate was not taken, in OpenSSL's words, if that is what the error comes from."""
    seen: list[BaseException] = []
    rest: list[object] = [error]
    while rest:
        each = rest.pop()
        if isinstance(each, SSLCertVerificationError):
            return each.verify_message
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            # urllib3 keeps what it met in `reason`, and in the arguments
            rest += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return None
