"""What a view shows of a run, and the following of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..flow import AsyncFlow
from ..runs import RunData
from ._curve import Curve
from ._tail import Tail

REFRESH_SECONDS = 1.0
"""How often the run is read again while its log says nothing."""
SHOW_SECONDS = 0.25
"""The least time between two pictures."""
END_SECONDS = 5.0
"""How long the rest of the log may take once the run has ended."""


class Sight:
    """What is seen of a run at one time."""

    __slots__ = ("cpu", "memory", "note", "run", "tail")

    def __init__(self, run: RunData, *, tail_lines: int, tail_bytes: int) -> None:
        self.run = run
        self.tail = Tail(max_lines=tail_lines, max_bytes=tail_bytes)
        self.cpu = Curve()
        """In cores."""
        self.memory = Curve()
        """In bytes."""
        self.note = ""
        """Why it is not followed any more, for example."""


class Watch:
    """Follows a run until it has ended: its log, its use of the machine, and its state."""

    __slots__ = ("_changed", "_flow", "_show", "_sight")

    def __init__(self, flow: AsyncFlow, sight: Sight, show: Callable[[], None]) -> None:
        self._flow = flow
        self._sight = sight
        self._show = show
        self._changed: asyncio.Event | None = None

    async def follow(self) -> None:
        """Follows it to its end, and calls back for each picture that is to be shown, but for the last.

        Raises:
            ClosedError: the flow was closed meanwhile.
        """
        self._changed = asyncio.Event()
        tasks = [asyncio.ensure_future(each) for each in (self._lines(), self._samples(), self._pictures())]
        lines, samples, pictures = tasks
        try:
            await _first_failure(pictures, lines, samples)
            await asyncio.wait({lines}, timeout=END_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _lines(self) -> None:
        async for line in self._flow.runs.logs(self._sight.run.id):
            self._sight.tail.add(line)
            self._wake()

    async def _samples(self) -> None:
        """The samples of each attempt, one attempt after the other."""
        followed = 0
        while True:
            while self._sight.run.attempt <= followed or self._sight.run.started_at is None:
                if self._sight.run.is_final:
                    return
                await asyncio.sleep(REFRESH_SECONDS)
            followed = self._sight.run.attempt
            async for sample in self._flow.runs.usage(self._sight.run.id, attempt=followed):
                self._sight.cpu.add(sample.cpu_millis / 1000)
                self._sight.memory.add(sample.memory_bytes)
                self._wake()

    async def _pictures(self) -> None:
        """Reads the run again and again, and shows it, until it has ended."""
        assert self._changed is not None
        while True:
            self._sight.run = await self._flow.runs.get(self._sight.run.id)
            if self._sight.run.is_final:
                return
            self._show()
            await asyncio.sleep(SHOW_SECONDS)
            try:
                await asyncio.wait_for(self._changed.wait(), REFRESH_SECONDS - SHOW_SECONDS)
            except asyncio.TimeoutError:
                pass
            self._changed.clear()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()


async def _first_failure(main: asyncio.Future[None], *others: asyncio.Future[None]) -> None:
    """Waits for the main one, or for a failure of any."""
    waiting: set[asyncio.Future[None]] = {main, *others}
    while not main.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    main.result()
