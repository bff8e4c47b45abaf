"""The embedded engine writes nothing of its own to a terminal."""

import os
import pty
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from h3_pipeline.clickhouse.embedded import open_embedded
with open_embedded(Path(sys.argv[1])) as engine:
    print(engine.value("SELECT sum(number) FROM numbers(10)"))
"""


def test_nothing_but_the_answer_on_a_terminal(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(tmp_path / "engine")])
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # how Linux says that the other end of a terminal is closed
            break
        if not piece:
            break
        written += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, written
    assert written.split() == [b"45"]
