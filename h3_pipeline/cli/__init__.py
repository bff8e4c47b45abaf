"""The command line, ``h3-pipeline``: exit codes, errors of one line, nothing else on the streams.

Nothing heavy is imported before a command runs: ``--help`` and a mistyped option answer at once.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from typer import Abort, TyperException

from h3_pipeline.cli import process
from h3_pipeline.cli.app import app
from h3_pipeline.cli.screen import complain
from h3_pipeline.cli.supervision import supervised
from h3_pipeline.errors import PipelineError

__all__ = ["main", "run"]


def main() -> NoReturn:
    """The console script."""
    if sys.argv[1:2] == ["dev"]:  # has processes of its own to end, and hears signals at once
        sys.exit(_command())
    sys.exit(supervised(_command))


def _command() -> int:
    process.collect_rarely()
    process.multiply_alone()
    process.unwind_on_sigterm()
    return run(sys.argv[1:])


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What follows ``h3-pipeline``.

    Returns:
        Exit code: 0 is success, 1 an error, 2 a refused upload or a mistake in the arguments, 130
        Ctrl-C, 143 a request to end.
    """
    process.quieten()
    try:
        code = app(list(arguments), prog_name="h3-pipeline", standalone_mode=False)
        sys.stdout.flush()
    except PipelineError as error:
        return _failed(str(error), error)
    except TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "h3-pipeline")
        complain(f"{error.format_message().rstrip('.')}; see {command} --help")
        return error.exit_code
    except BrokenPipeError:
        # whoever read our output has enough; nothing may be flushed into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error), error)
    except Abort:
        return 1
    except process.Terminated:
        return 143
    except Exception as error:  # whatever it is, a traceback is no answer to a user
        advice = "" if process.debugging() else f"; run it again with {process.DEBUG}=1 for the traceback and report it"
        return _failed(f"unexpected {type(error).__name__}: {error} (this is a bug{advice})", error)
    return code if isinstance(code, int) else 0


def _failed(message: str, error: BaseException) -> int:
    if process.debugging():
        traceback.print_exception(error)
    complain(message)
    return 1
