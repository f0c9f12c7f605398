"""The end of a log, within limits, and the progress that its lines tell."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from .._fastflow import LogLine
from ._html import cleaned

MAX_LINE_BYTES = 4096
"""How much of one line is kept: its end."""

_COMMAND = re.compile(r"^::progress\s+(\d{1,3}(?:\.\d{1,6})?)\s*%?::(.*)$")
_BAR = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,6})?)\s?%")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a program says it is."""

    percent: float
    """From 0 to 100."""
    message: str
    """What it says to it; nothing in most cases."""


def progress_in(text: str) -> Progress | None:
    """What a line says of the progress.

    Two kinds of lines do: ``::progress 40::`` with any text behind it, and a bar that overwrites itself by ``\\r`` and
    has a percentage in it, such as tqdm's.

    >>> from fastflow.notebook._tail import progress_in
    >>> progress_in("::progress 40::loading")
    Progress(percent=40.0, message='loading')
    >>> progress_in("\\r  7%|#         | 7/100")
    Progress(percent=7.0, message='')
    >>> progress_in("40% of the rows are empty") is None
    True
    """
    command = _COMMAND.match(text.strip()) if "::progress" in text else None
    if command is not None:
        return _progress(command.group(1), command.group(2).strip())
    if "\r" not in text.rstrip("\r"):
        return None
    bars = _BAR.findall(text[-MAX_LINE_BYTES:])
    return _progress(bars[-1], "") if bars else None


def _progress(percent: str, message: str) -> Progress | None:
    value = float(percent)
    return Progress(value, message) if value <= 100 else None


def overwritten(text: str) -> str:
    """What a terminal would show of a line that overwrites itself."""
    return text.rstrip("\r").rpartition("\r")[2]


@dataclass(slots=True, eq=False)
class _Entry:
    stream: str
    text: str
    size_bytes: int


class Tail:
    """The newest lines of a log: so many at most, and so many bytes at most."""

    __slots__ = ("_entries", "_max_bytes", "_max_lines", "_open", "_size_bytes", "is_cut", "progress")

    def __init__(self, *, max_lines: int, max_bytes: int) -> None:
        self._entries: deque[_Entry] = deque()
        self._open: dict[str, _Entry] = {}
        self._max_lines = max(max_lines, 1)
        self._max_bytes = max(max_bytes, MAX_LINE_BYTES)
        self._size_bytes = 0
        self.is_cut = False
        """Whether there is more in the log than is here."""
        self.progress: Progress | None = None
        """The newest progress that a line told."""

    def add(self, line: LogLine) -> None:
        """Adds a line, and lets go of the oldest that have no room any more."""
        stream, text = line.stream, line.text
        if stream == "truncated":
            text = f"… {line.dropped_lines} lines are missing here"
        elif stream in ("stdout", "stderr"):
            progress = progress_in(text)
            self.progress = progress or self.progress
            if progress is not None and text.startswith("::progress"):
                return  # The bar shows it.
        entry = self._open.pop(stream, None)
        if entry is None:
            entry = _Entry(stream, "", 0)
            self._entries.append(entry)
        # A long line comes in parts, and is shown as one.
        self._size_bytes -= entry.size_bytes
        entry.text, entry.size_bytes = _end_of(entry.text + text)
        self._size_bytes += entry.size_bytes
        if line.continues:
            self._open[stream] = entry
        while len(self._entries) > self._max_lines or self._size_bytes > self._max_bytes:
            self._drop_oldest()

    def lines(self) -> list[tuple[str, str]]:
        """The lines that are kept, each with its stream, as a terminal would show them without colours."""
        return [(each.stream, cleaned(overwritten(each.text))) for each in self._entries]

    def _drop_oldest(self) -> None:
        oldest = self._entries.popleft()
        self._size_bytes -= oldest.size_bytes
        self.is_cut = True
        if self._open.get(oldest.stream) is oldest:
            del self._open[oldest.stream]


def _end_of(text: str) -> tuple[str, int]:
    """The end of a line, as much as is kept of it, and its size."""
    text = text[-MAX_LINE_BYTES:]
    if text.isascii():
        return text, len(text)
    encoded = text.encode(errors="replace")
    if len(encoded) > MAX_LINE_BYTES:
        text = encoded[-MAX_LINE_BYTES:].decode(errors="ignore")
        encoded = encoded[-MAX_LINE_BYTES:]
    return text, len(encoded)
