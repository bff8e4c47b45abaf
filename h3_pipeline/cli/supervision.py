"""Runs a command in a child process, so that it can be ended at any moment.

The engine inside the process keeps Python from hearing a signal until a statement is done, and
Dagster takes an interrupt for a reason to try again. The parent hears every signal: it passes it on,
kills the child if that does not end soon (no load is ever half done, whatever instant it is killed
at), and stops the object store that the child may have left behind.
"""

import os
import signal
import sys
from collections.abc import Callable
from threading import Thread
from types import FrameType

from h3_pipeline.cli import screen
from h3_pipeline.errors import PipelineError

GRACE_SECONDS = 5
"""How long a command may take to end in order; a second signal ends it at once."""

_SHOW_CURSOR = "\x1b[?25h"


def supervised(work: Callable[[], int]) -> int:
    """Do work in a child process.

    Args:
        work: Returns the exit code.

    Returns:
        In the child, what the work returned; in the parent, the exit code to end with.
    """
    lifeline, held = os.pipe()  # held by the parent alone: its end is the child's, too
    child = os.fork()
    if child == 0:
        os.close(held)
        os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which passes it on once
        Thread(target=_end_with, args=(lifeline,), daemon=True).start()
        return work()
    os.close(lifeline)
    return _Supervisor(child).wait()


class _Supervisor:
    def __init__(self, child: int) -> None:
        self._child = child
        self._asked: int | None = None

    def wait(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        signal.signal(signal.SIGALRM, self._kill)
        code = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        signal.alarm(0)
        if code < 0:  # it was killed, by us or by the system
            self._tidy_up()
        if self._asked is not None:
            screen.complain("interrupted")
            return 128 + self._asked
        if code < 0:
            name = signal.Signals(-code).name
            memory = "; there may be too little memory" if -code == signal.SIGKILL else ""
            screen.complain(f"the command was ended by {name}{memory}; run it again")
            return 1
        return code

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked = number
            os.kill(self._child, number)
            signal.alarm(GRACE_SECONDS)
        else:
            self._kill(number, None)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        os.kill(self._child, signal.SIGKILL)

    def _tidy_up(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(_SHOW_CURSOR)
        from h3_pipeline.local.object_store import local_object_store, running
        from h3_pipeline.settings import Settings

        try:
            settings = Settings.load()
            if settings.local_object_store and running(settings.home):
                with local_object_store(settings.home):
                    pass  # the last to leave stops it
        except (PipelineError, OSError) as error:
            screen.note(str(error))


def _end_with(lifeline: int) -> None:
    """End this process when the other end of a pipe is closed."""
    os.read(lifeline, 1)
    os._exit(128 + signal.SIGKILL)
