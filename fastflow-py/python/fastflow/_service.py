"""Threads of the package that wait outside the interpreter for work of a flow.

They are daemons, and have ended before the interpreter does: a flow that is closed, or the end of the program, closes
what they wait at, and gives them a moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

JOIN_SECONDS = 2.0
"""How long the end of a flow waits for threads that work for it."""


class Service(Protocol):
    """What works for a flow until that is closed."""

    def start(self) -> None:
        """Begins. Called once."""
        ...

    def end(self) -> None:
        """Begins to end. Fine to repeat."""
        ...

    def threads(self) -> list[threading.Thread]:
        """Those that were started."""
        ...


def started(name: str, target: Callable[[], None]) -> threading.Thread:
    """A daemon that runs this."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def end_all(services: Iterable[Service], seconds: float = JOIN_SECONDS) -> None:
    """Ends them, and waits for so long at most. A thread that is in somebody's method then is left to itself."""
    services = list(services)
    for service in services:
        service.end()
    end = time.monotonic() + seconds
    for service in services:
        for thread in service.threads():
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
