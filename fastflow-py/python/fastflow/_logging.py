"""From what the orchestrator says to Python's ``logging``."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ._fastflow import LogPort
from ._service import started

if TYPE_CHECKING:
    from datetime import datetime

LOGGER = "fastflow"
"""The logger; parts of the package have children of it, such as ``fastflow.host.scheduler``."""

MAX_WAITING_LINES = 1024
"""Lines that may wait to be taken. What is said while so many wait is counted and dropped."""

_OWN = ("fastflow_core", "fastflow_docker", "fastflow_podman", "_fastflow")


class LogService:
    """Takes what is said in the runtime of a flow to ``logging``, in one thread."""

    def __init__(self) -> None:
        logger = logging.getLogger(LOGGER)
        if not logger.handlers:
            # Or what nobody wants to hear would be printed by the handler of last resort.
            logger.addHandler(logging.NullHandler())
        self.port = LogPort(_least(logger), MAX_WAITING_LINES)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to listen."""
        self._thread = started("fastflow-logging", self._run)

    def end(self) -> None:
        """Hears nothing more."""
        self.port.close()

    def threads(self) -> list[threading.Thread]:
        """The one that listens."""
        return [] if self._thread is None else [self._thread]

    def _run(self) -> None:
        logger = logging.getLogger(LOGGER)
        while (line := self.port.next()) is not None:
            try:
                _tell(*line)
                if dropped := self.port.take_dropped():
                    logger.warning("%d lines of the log were dropped: they came faster than they were taken", dropped)
                self.port.set_least(_least(logger))
            except Exception:  # A filter of somebody's that fails; the next line may fare better.
                continue


def _least(logger: logging.Logger) -> int:
    """The least level that is worth the way. Children may be set to hear more, down to what there is much of."""
    return max(1, min(logger.getEffectiveLevel(), logging.INFO))


def _tell(target: str, level: int, time: datetime, text: str) -> None:
    logger = logging.getLogger(_name(target))
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(logger.name, level, "fastflow", 0, text, (), None, target)
    record.created = time.timestamp()
    record.msecs = float(time.microsecond // 1000)
    logger.handle(record)


def _name(target: str) -> str:
    """The logger of a place in the code.

    >>> _name("fastflow_core::host::scheduler"), _name("sqlx::query")
    ('fastflow.host.scheduler', 'fastflow.sqlx.query')
    """
    first, _, rest = target.partition("::")
    parts = [LOGGER] if first in _OWN else [LOGGER, first]
    return ".".join([*parts, *rest.split("::")] if rest else parts)
