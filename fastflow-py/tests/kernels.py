"""A kernel of Jupyter, and the outputs of its cells as a front end would show them."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

LIMIT_SECONDS = 60.0


@dataclass
class Cell:
    """An execution, with what it has shown so far."""

    message: str
    outputs: list[dict[str, Any]] = field(default_factory=list)
    is_idle: bool = False

    def html(self) -> str:
        """All HTML that it shows now."""
        return "".join(each["data"].get("text/html", "") for each in self.outputs if "data" in each)

    def text(self) -> str:
        """What it has printed."""
        return "".join(each["text"] for each in self.outputs if "text" in each)

    def result(self) -> str:
        """The text of its last expression."""
        return next(each["data"]["text/plain"] for each in self.outputs if each["kind"] == "execute_result")

    def error(self) -> dict[str, Any] | None:
        """The exception that ended it."""
        return next((each for each in self.outputs if each["kind"] == "error"), None)


class Kernel:
    """A real kernel."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manager = KernelManager(kernel_name="python3")
        self.widgets: dict[str, dict[str, Any]] = {}
        """The states of the widgets that are open, by their ids."""
        self._cells: dict[str, Cell] = {}
        self._displays: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> Kernel:
        settings = {"IPYTHONDIR": str(self._folder / ".ipython")}
        self.manager.start_kernel(cwd=str(self._folder), env={**os.environ, **settings})
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def _connect(self) -> None:
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT_SECONDS)

    def kill_and_restart(self) -> None:
        """Kills it without a chance to tidy up, and starts a new one in its place."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self._connect()

    def start(self, code: str) -> Cell:
        """Begins to execute a cell."""
        message = self.client.execute(code)
        self._cells[message] = Cell(message)
        return self._cells[message]

    def finish(self, cell: Cell) -> Cell:
        """Waits for the end of a cell."""
        self.until(lambda: cell.is_idle, "the cell ends")
        return cell

    def execute(self, code: str) -> Cell:
        """Executes a cell. It must end without an exception."""
        cell = self.finish(self.start(code))
        error = cell.error()
        assert error is None, "\n".join((error or {})["traceback"])
        return cell

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Takes what the kernel publishes until the condition holds."""
        end = time.monotonic() + LIMIT_SECONDS
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"after {LIMIT_SECONDS} s still not: {what}; {list(self._cells.values())[-1].outputs}"
            try:
                self._take(self.client.get_iopub_msg(timeout=left))
            except queue.Empty:
                pass

    def press_cancel(self, widget: str) -> None:
        """What the module of the widget sends when somebody presses its button."""
        content = {"comm_id": widget, "data": {"method": "custom", "content": {"type": "cancel"}}}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def _take(self, message: dict[str, Any]) -> None:
        content, kind = message["content"], message["msg_type"]
        if kind == "comm_open":
            self.widgets[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg":
            self.widgets[content["comm_id"]].update(content["data"].get("state", {}))
        elif kind == "comm_close":
            self.widgets.pop(content["comm_id"], None)
        elif kind == "update_display_data":
            for output in self._displays[content["transient"]["display_id"]]:
                output.update(data=content["data"], updated_by=message["parent_header"].get("msg_id"))
        cell = self._cells.get(message["parent_header"].get("msg_id", ""))
        if cell is not None:
            self._take_for(cell, kind, content)

    def _take_for(self, cell: Cell, kind: str, content: dict[str, Any]) -> None:
        if kind == "status" and content["execution_state"] == "idle":
            cell.is_idle = True
        elif kind in ("display_data", "execute_result", "stream", "error"):
            output = {"kind": kind, **content}
            cell.outputs.append(output)
            display = content.get("transient", {}).get("display_id")
            if display is not None:
                self._displays.setdefault(display, []).append(output)
