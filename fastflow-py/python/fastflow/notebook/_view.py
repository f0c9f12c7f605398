"""The live view of a run."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
from collections.abc import Callable

from .._given import INT64_MAX, whole
from .._time import Duration, seconds_or_none
from ..errors import ConflictError, FastflowError, TimedOutError
from ..flow import AsyncFlow, Flow
from ..runs import AsyncRun, Run, RunData
from ._html import Html
from ._kernel import is_kernel
from ._picture import picture
from ._screens import Screen, best_screen, marimo_screen
from ._watch import Sight, Watch

TAIL_LINES = 100
"""How many lines of the log a view keeps, when nothing is said."""
TAIL_BYTES = 32 * 1024
"""How many bytes of the log a view keeps, when nothing is said."""
STOP_SECONDS = 2.0
"""How long a view may take to end."""


class View:
    """A run in the output of a cell: its log, its use of the machine, its progress, and its end.

    It is shown where it is the last expression of a cell, or by ``display(view)``. The kernel is free meanwhile: a
    thread of the view's own follows the run, until the run ends, the flow is closed, or :meth:`stop` is called. An
    interrupt of the kernel does not reach it. Showing it again moves it there, and goes on with following.

    >>> from fastflow import notebook
    >>> view = notebook.view(flow.run("hello"))
    >>> view.wait(timeout=60).status
    <Status.SUCCESS: 'SUCCESS'>
    """

    def __init__(self, run: Run | AsyncRun, *, tail_lines: int = TAIL_LINES, tail_bytes: int = TAIL_BYTES) -> None:
        self._engine = run.flow._engine
        self._timeout = run.flow._timeout
        self._is_async = isinstance(run, AsyncRun)
        self._limits = {
            "tail_lines": whole(tail_lines, "tail_lines", 0, INT64_MAX),
            "tail_bytes": whole(tail_bytes, "tail_bytes", 0, INT64_MAX),
        }
        self._sight = Sight(run, **self._limits)
        self._screen: Screen | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = _nothing

    @property
    def run(self) -> RunData:
        """The run as the view has seen it last."""
        return self._sight.run

    @property
    def is_live(self) -> bool:
        """Whether it follows the run now."""
        return self._thread is not None and self._thread.is_alive()

    def show(self) -> None:
        """Shows it in the output of the running cell, and follows the run. Where it was before, it stands still."""
        self._begin(best_screen(self.cancel))

    def stop(self) -> None:
        """Ends the following. The run goes on. Does nothing when it has ended already."""
        self._stop()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def wait(self, *, timeout: Duration | None = None) -> RunData:
        """Follows the run until it has ended, and answers the run as it is then.

        Raises:
            TimedOutError: it has not ended within ``timeout``. The run goes on, and so does the view.
        """
        if not self.is_live and not self._sight.run.is_final:
            self._follow()
        limit = seconds_or_none(timeout)
        if self._thread is not None:
            # Longer than a thread can wait for is without end.
            self._thread.join(limit if limit is None or limit <= threading.TIMEOUT_MAX else None)
            if self._thread.is_alive():
                raise TimedOutError(f"the run has not ended within {limit} s")
        return self._sight.run

    def cancel(self) -> None:
        """Asks for the end of the run, as the button does. The view shows what comes of it."""
        try:
            Flow(self._engine, self._timeout).runs.cancel(self._sight.run.id)
        except ConflictError:
            pass  # It has ended meanwhile, and the view is about to say so.
        except FastflowError as error:
            self._sight.note = f"It could not be cancelled: {error}"

    def _begin(self, screen: Screen) -> None:
        self.stop()
        self._screen = screen
        self._sight = Sight(self._sight.run, **self._limits)
        screen.begin(self._picture(), self._text())
        self._follow()

    def _follow(self) -> None:
        started = threading.Event()
        # With the context of this cell: what the thread publishes belongs to the output of this cell.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._serve, started), name="fastflow-view", daemon=True
        )
        self._thread.start()
        started.wait()

    def _serve(self, started: threading.Event) -> None:
        # A daemon so that no exit waits for a run, and stopped before the interpreter is taken down.
        atexit.register(self.stop)
        try:
            asyncio.run(self._watch(started))
        finally:
            started.set()
            atexit.unregister(self.stop)

    async def _watch(self, started: threading.Event) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        self._stop = stop
        started.set()
        try:
            await Watch(AsyncFlow(self._engine, self._timeout), self._sight, self._show).follow()
        except asyncio.CancelledError:
            self._sight.note = "Not followed any more. The run goes on; run.view() follows it again."
        except FastflowError as error:
            self._sight.note = f"Not followed any more: {error}"
        finally:
            self._stop = _nothing
            if self._screen is not None:
                self._screen.end(picture(self._sight, self._how_to_cancel()), self._text())
                self._screen = None

    def _show(self) -> None:
        if self._screen is not None:
            self._screen.show(self._picture(), self._text())

    def _picture(self) -> Html:
        has_button = self._screen is not None and self._screen.has_button
        return picture(self._sight, None if has_button else self._how_to_cancel())

    def _how_to_cancel(self) -> str:
        call = f'flow.runs.cancel("{self._sight.run.id}")'
        return f"await {call}" if self._is_async else call

    def _text(self) -> str:
        run = self._sight.run
        return f"<run {run.id} of {run.pipeline!r}: {run.status}>"

    def _ipython_display_(self) -> None:
        if not is_kernel():
            raise NotImplementedError  # IPython shows the representation then.
        self.show()

    def _display_(self) -> object:
        """What marimo shows: the widget; the run as it was read, when there are no widgets."""
        try:
            screen = marimo_screen(self.cancel)
        except ImportError:
            return self._sight.run
        self._begin(screen)
        return screen.widget

    def __repr__(self) -> str:
        return f"<fastflow.notebook.View of {self._text()}>"


def _nothing() -> None:
    """There is nothing to stop."""


def view(run: Run | AsyncRun, *, tail_lines: int = TAIL_LINES, tail_bytes: int = TAIL_BYTES) -> View:
    """A live view of a run, to be the last expression of a cell. The same as :meth:`Run.view`.

    Args:
        run: the run.
        tail_lines: how many lines of the log it keeps.
        tail_bytes: how many bytes of the log it keeps.
    """
    return View(run, tail_lines=tail_lines, tail_bytes=tail_bytes)


def show_if_in_flight(run: Run | AsyncRun) -> None:
    """Shows a run live where a kernel can, and the run is still in flight.

    Raises:
        NotImplementedError: otherwise. IPython shows the run as it was read then.
    """
    if run.is_final or not is_kernel() or not run.flow._engine.is_alive():
        raise NotImplementedError
    View(run).show()
