"""Programs that tests start: they are waited for by what they do, and ended with all they have started."""

from __future__ import annotations

import json as codec
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.01

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment does not reach what listens here."""


def wait_until(condition: Callable[[], bool], what: str, limit_seconds: float = LIMIT_SECONDS) -> None:
    """Waits for a condition, and fails with its name when it does not come."""
    end = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {limit_seconds} s still not: {what}")
        time.sleep(LOOK_EVERY_SECONDS)


def listener() -> socket.socket:
    """A socket that listens on a port of its own, for a program that is given it: nobody else can take the port."""
    return socket.create_server(("127.0.0.1", 0))


def request(
    port: int,
    method: str,
    path: str,
    json: object = None,
    form: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Asks a web application: the status, and the answer."""
    data = None if json is None else codec.dumps(json).encode()
    kind = "application/json"
    if form is not None:
        data, kind = form.encode(), "application/x-www-form-urlencoded"
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": kind, **(headers or {})}, method=method
    )
    try:
        with _OPENER.open(asked, timeout=LIMIT_SECONDS) as answer:
            body, status, kind = answer.read(), answer.status, answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        body, status, kind = error.read(), error.code, error.headers.get_content_type()
    return status, codec.loads(body) if kind == "application/json" else body.decode()


class Program:
    """A program in a process group of its own, with its output in a file. ``gives`` is what it is given to listen on."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: dict[str, str] | None = None,
        gives: socket.socket | None = None,
    ) -> None:
        self._output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if gives is None else (gives.fileno(),),
        )
        if gives is not None:
            # Who asks hears so when the program ends, and does not wait for it.
            gives.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(LIMIT_SECONDS)
        self._output.close()

    def output(self) -> str:
        """What it has written so far."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def terminate(self) -> None:
        """Asks it to end."""
        self.process.terminate()

    def wait(self, limit_seconds: float = LIMIT_SECONDS) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(limit_seconds)
