"""The command ``fastflow``, which is ``python -m fastflow`` too."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager

from ._fastflow import cli
from ._uv import installed_uv


@contextmanager
def _interrupts() -> Generator[int, None, None]:
    """Writes the numbers of signals to a socket while the command runs, and lets it decide what Ctrl-C does."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    earlier = signal.signal(signal.SIGINT, lambda number, frame: None)
    earlier_descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield reading.fileno()
    finally:
        signal.set_wakeup_fd(earlier_descriptor)
        signal.signal(signal.SIGINT, earlier)
        reading.close()
        writing.close()


def main() -> int:
    """Carries out the command that the program was started with, and answers with its exit code."""
    python = f"{sys.version.split()[0]} {sys.executable}"
    with _interrupts() as interrupts:
        return cli(sys.argv, uv=installed_uv(), python=python, interrupts=interrupts)


if __name__ == "__main__":
    sys.exit(main())
