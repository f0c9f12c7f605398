"""Runs the command as people do: as a process of its own, with its output in pipes or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_SECONDS = 90.0
COLUMNS = 80

COMMAND = (sys.executable, "-m", "fastflow")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without what would change the looks of the output, or say where things are."""
    changed = ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "FASTFLOW_PIPELINES", "FASTFLOW_DATA_DIR", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if name not in changed}
    return {**kept, "TERM": "xterm-256color", "TZ": "Europe/Berlin", **(extra or {})}


class Commands:
    """The command for one place."""

    def __init__(self, cwd: Path, *options: str) -> None:
        self.cwd = cwd
        self.options = options

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Carries out one command to its end."""
        return subprocess.run(
            [*COMMAND, *self.options, *words],
            cwd=self.cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )

    def json(self, *words: str) -> Any:
        """What a command that succeeds answers programs."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def terminal(self, *words: str) -> Terminal:
        """Begins a command on a terminal."""
        return Terminal([*COMMAND, *self.options, *words], self.cwd)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: list[str], cwd: Path) -> None:
        self._controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(LIMIT_SECONDS)
        os.close(self._controller)

    def read_until(self, wanted: str) -> None:
        """Reads until it has shown something."""
        end = time.monotonic() + LIMIT_SECONDS
        while wanted not in self.seen:
            assert time.monotonic() < end and self._read(end), f"never {wanted!r} in {self.seen!r}"

    def press(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._controller, keys.encode())

    def wait(self) -> int:
        """Its exit code, and all it has shown before in ``seen``."""
        end = time.monotonic() + LIMIT_SECONDS
        while self._read(end):
            pass
        return self.process.wait(max(end - time.monotonic(), 0.1))

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._controller], [], [], max(end - time.monotonic(), 0))
        if not ready:
            return False
        try:
            part = os.read(self._controller, 65536)
        except OSError:  # The last one that had the terminal open is gone.
            return False
        self.seen += part.decode(errors="replace")
        return bool(part)
