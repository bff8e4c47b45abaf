"""How a command's process behaves: what libraries may print, and what ends it in order."""

import atexit
import gc
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

DEBUG = "H3_PIPELINE_DEBUG"
"""Set to 1, this variable shows tracebacks, logs and warnings."""

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Python's default is 700, with which an eighth of a small run's time goes into 700 collections that find nothing."""

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"

_WAITS = "h3_pipeline.warehouse.connect"
"""Logger that tells of a wait for the embedded warehouse where no caller can be told otherwise."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM); what it has open is closed on the way out."""


def debugging() -> bool:
    """Whether the user wants to see the works."""
    return os.environ.get(DEBUG, "").lower() not in ("", "0", "false", "no")


def collect_rarely() -> None:
    """Look for unreachable objects seldom: what a command imports is there to stay, and goes with its process."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    # Python looks through all of them twice more when it ends
    atexit.register(gc.freeze)


def multiply_alone() -> None:
    """Keep numpy from starting a thread a core, each of which spins for a while: no matrix of ours is large."""
    os.environ.setdefault(_BLAS_THREADS, "1")


@contextmanager
def importing() -> Iterator[None]:
    """Import what is large: no collection looks at it meanwhile, nor ever after."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def quieten() -> None:
    """Keep the libraries' logs and warnings off the streams, unless debugging."""
    if debugging():
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        return
    warnings.simplefilter("ignore")
    logging.lastResort = None
    waits = logging.getLogger(_WAITS)
    if not waits.handlers:
        waits.setLevel(logging.INFO)
        waits.addHandler(_OnScreen())


def unwind_on_sigterm() -> None:
    """Let SIGTERM and a closed terminal end the process as Ctrl-C does: what was started is stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _terminate)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


class _OnScreen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from h3_pipeline.cli.screen import note

        note(record.getMessage())
