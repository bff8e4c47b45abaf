"""Asks a ClickHouse server whether it is there. It needs no login and no engine, and costs the server nothing."""

import urllib3


def ping(host: str, port: int, *, secure: bool, timeout_seconds: float, authority: str | None = None) -> None:
    """Ask a server's HTTP interface whether it is there.

    Args:
        host: Its name or address.
        port: Its HTTP or HTTPS port.
        secure: Speak HTTPS.
        timeout_seconds: How long a connection, and then an answer, may take.
        authority: Certificate of the authority that vouches for the server, PEM; None for the system's.

    Raises:
        ConnectionError: It cannot be reached, or answers something else.
    """
    timeout = urllib3.Timeout(timeout_seconds)
    with urllib3.PoolManager(retries=False, timeout=timeout, ca_cert_data=authority) as pool:
        try:
            answer = pool.request("GET", f"{'https' if secure else 'http'}://{host}:{port}/ping", redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(f"no answer from ClickHouse at {host}:{port}") from error
    if answer.status != 200:
        raise ConnectionError(f"ClickHouse at {host}:{port} answered {answer.status}")
