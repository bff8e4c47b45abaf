"""Free ports on loopback."""

import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

HOST = "127.0.0.1"


@contextmanager
def held(port: int = 0) -> Iterator[int]:
    """Hold a loopback port so that nothing else gets it.

    Args:
        port: Port number; 0 for any free one.

    Yields:
        The port's number.

    Raises:
        OSError: The port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed connection does not block it
        listener.bind((HOST, port))
        listener.listen()  # until then the kernel lets two programs hold one port
        yield listener.getsockname()[1]


def all_free(ports: Collection[int]) -> bool:
    """Whether all these ports are free."""
    with ExitStack() as stack:
        try:
            for port in ports:
                stack.enter_context(held(port))
        except OSError:
            return False
        return True
