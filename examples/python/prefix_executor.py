"""An executor of one's own: it runs programs behind a command, such as ``nice -n 15`` or ``chrt --idle 0``.

What it has to do, and what it leaves to the shim:

- It **starts** the shim behind the command. The shim starts the program, once and never again.
- It **keeps no table** of what it started. One small file for each attempt says that there is one; all else is in the
  run directory. So a host that was killed loses nothing.
- It **claims only what it can**: ``capabilities`` chooses the cases of the conformance suite that it has to pass.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import fastflow
from fastflow.executor import (
    AttemptRef,
    AttemptSpec,
    Capabilities,
    Ended,
    Execution,
    ExecutionHandle,
    Executor,
    Lost,
    LostCause,
    Monitor,
    NeverStarted,
    Shim,
    StartFailure,
    StopCause,
)

END_SECONDS = 20.0
"""How long a shim may take to kill everything, and to end. It gives up before."""


class PrefixExecutor(Executor):
    """Runs programs as local processes behind a command."""

    capabilities = Capabilities(environments=True, output=True, reattach=True)

    def __init__(self, prefix: Sequence[str], state_dir: Path) -> None:
        self.prefix = list(prefix)
        self.live = state_dir / "live"
        self.live.mkdir(parents=True, exist_ok=True)
        self.shim = Shim(state_dir)

    def start(self, spec: AttemptSpec) -> Execution | StartFailure:
        order = self.shim.order(spec)
        entry = self.entry(spec.owner, spec.id)
        # Before the start: whatever happens now, the attempt is found.
        entry.parent.mkdir(exist_ok=True)
        entry.write_text(str(spec.run_dir))
        started = subprocess.run(
            [*self.prefix, *self.shim.command],
            input=order,
            stdout=subprocess.PIPE,
            env={"PATH": os.defpath},
            check=False,
        )
        if not started.stdout:
            raise fastflow.UnavailableError("the shim gave no answer; whether the program was started is unknown")
        reply = json.loads(started.stdout)
        if reply["reply"] == "started":
            monitor = Monitor(**{key: reply[key] for key in ("pid", "start_time_ticks", "boot_id")})
            return PrefixExecution(self, spec.owner, spec.id, spec.run_dir, monitor)
        if reply["reply"] == "exec_failed":
            # The proof of its end says why, in the words of the contract.
            settled = self.shim.settle(AttemptRef(id=spec.id, owner=spec.owner, run_dir=spec.run_dir), begun=True)
            if isinstance(settled, Monitor):
                PrefixExecution(self, spec.owner, spec.id, spec.run_dir, settled).await_end()
            entry.unlink(missing_ok=True)
            failure = self.shim.ended(spec.run_dir, spec.id)
            if isinstance(failure, StartFailure):
                return failure
        if reply["reply"] == "refused":
            raise fastflow.AlreadyExistsError("the attempt was started before", attempt=spec.id)
        raise fastflow.InternalError(f"the shim could not work: {reply}")

    def list(self, owner: str) -> Sequence[ExecutionHandle]:
        folder = self.live / owner
        found: list[ExecutionHandle] = []
        for entry in folder.iterdir() if folder.is_dir() else ():
            attempt = AttemptRef(id=entry.name, owner=owner, run_dir=Path(entry.read_text()))
            if (attempt.run_dir / "guard.json").exists() or not attempt.run_dir.is_dir():
                monitor = self.shim.settle(attempt, begun=True)
                if isinstance(monitor, NeverStarted):
                    entry.unlink(missing_ok=True)
                else:
                    found.append(handle_of(attempt.id, monitor))
        return found

    def reattach(self, attempt: AttemptRef) -> Execution | NeverStarted | Lost:
        entry = self.entry(attempt.owner, attempt.id)
        monitor = self.shim.settle(attempt, begun=entry.exists())
        if isinstance(monitor, Monitor):
            execution = PrefixExecution(self, attempt.owner, attempt.id, attempt.run_dir, monitor)
            # Life first, then the proof: it is there when the one who writes it has ended.
            if monitor.is_alive() or self.shim.ended(attempt.run_dir, attempt.id) is not None:
                return execution
            monitor = Lost(execution.lost_cause())
        elif isinstance(monitor, Lost) and attempt.handle is not None and attempt.handle.detail is not None:
            # Its files are gone, and the handle remembers who watched over it.
            left = PrefixExecution(self, attempt.owner, attempt.id, attempt.run_dir, Monitor(**attempt.handle.detail))
            left.kill()
        entry.unlink(missing_ok=True)
        return monitor

    def entry(self, owner: str, attempt: str) -> Path:
        """The file that says that there is this attempt."""
        return self.live / owner / attempt


class PrefixExecution(Execution):
    """One attempt behind the command."""

    def __init__(self, executor: PrefixExecutor, owner: str, attempt: str, run_dir: Path, monitor: Monitor) -> None:
        self.executor = executor
        self.owner = owner
        self.attempt = attempt
        self.run_dir = run_dir
        self.monitor = monitor

    @property
    def handle(self) -> ExecutionHandle:
        return handle_of(self.attempt, self.monitor)

    async def wait(self) -> Ended:
        await self._monitor_ended()
        ended = self.executor.shim.ended(self.run_dir, self.attempt)
        return Lost(self.lost_cause()) if ended is None else ended

    async def stop(self, grace: timedelta, cause: StopCause) -> None:
        if not self.monitor.is_alive():
            return
        self.executor.shim.record_stop(self.run_dir, cause)
        if self._signal(signal.SIGTERM):
            # The shim keeps the grace of its order by itself; this one may be shorter.
            asyncio.get_running_loop().call_later(grace.total_seconds(), self._signal, signal.SIGQUIT)

    def remove(self) -> None:
        self.kill()
        self.executor.entry(self.owner, self.attempt).unlink(missing_ok=True)

    def kill(self) -> None:
        """Kills what runs of it, and waits until nothing does."""
        if self._signal(signal.SIGQUIT):
            self.await_end()

    def await_end(self) -> None:
        """Waits for the end of a shim that has nothing more to do."""
        pidfd = self._open()
        if pidfd is None:
            return
        with os.fdopen(pidfd) as ended:
            # A hold on a process becomes readable at its end.
            if not select.select([ended], [], [], END_SECONDS)[0]:
                raise fastflow.UnavailableError("the shim does not end", attempt=self.attempt)

    def lost_cause(self) -> LostCause:
        """Why nobody can know how it ended."""
        if self.monitor.boot_id != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
            return LostCause.MACHINE_RESTARTED
        return LostCause.MONITOR_DIED if self.run_dir.is_dir() else LostCause.REMOVED

    async def _monitor_ended(self) -> None:
        pidfd = self._open()
        if pidfd is None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            # A hold on a process becomes readable at its end.
            loop.add_reader(pidfd, ended.set)
            await ended.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def _open(self) -> int | None:
        """A hold on the shim, or None when it has ended. By its number first, and verified afterwards."""
        try:
            pidfd = os.pidfd_open(self.monitor.pid)
        except ProcessLookupError:
            return None
        if self.monitor.is_alive():
            return pidfd
        os.close(pidfd)
        return None

    def _signal(self, number: signal.Signals) -> bool:
        pidfd = self._open()
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True


def handle_of(attempt: str, monitor: Monitor | Lost) -> ExecutionHandle:
    """The handle of an attempt, always with the same content for the same process."""
    if isinstance(monitor, Lost):
        return ExecutionHandle(attempt=attempt, native_id="unknown")
    detail = {"pid": monitor.pid, "start_time_ticks": monitor.start_time_ticks, "boot_id": monitor.boot_id}
    return ExecutionHandle(attempt=attempt, native_id=str(monitor.pid), detail=detail)
