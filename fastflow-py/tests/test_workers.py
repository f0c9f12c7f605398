"""Four workers of a web server open one data directory: one hosts, all submit and read, and another takes over."""

from __future__ import annotations

import collections
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import fastflow
import pytest
from programs import LIMIT_SECONDS, Program, listener, request, wait_until

WORKERS = 4
KILLS = 3
TAKE_OVER_SECONDS = 2.0


class Server:
    """The Django example under gunicorn."""

    def __init__(self, port: int, mark: Path) -> None:
        self.port = port
        self.mark = mark
        self.promised: list[str] = []
        self.workers: set[int] = set()

    def submit(self, key: str) -> dict[str, Any]:
        """Submits a run, again and again with one key while workers die under it."""

        def accepted() -> bool:
            try:
                status, answer = request(
                    self.port, "POST", "/pipelines/marks/runs", form=f"MARK={self.mark}", headers={"Idempotency-Key": key}
                )
            except OSError:
                return False
            if status != 202:
                return False
            answers.append(answer)
            return True

        answers: list[dict[str, Any]] = []
        wait_until(accepted, f"the run {key} is accepted")
        self.promised.append(answers[0]["id"])
        self.workers.add(answers[0]["worker"])
        return answers[0]


@pytest.mark.timeout(300)
def test_one_of_four_workers_hosts(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("django")
    pytest.importorskip("gunicorn")
    shutil.copy(repository / "examples" / "python" / "django_app.py", tmp_path)
    shutil.copytree(Path(__file__).parent / "pipelines", tmp_path / "pipelines")
    listens, mark = listener(), tmp_path / "mark"
    port: int = listens.getsockname()[1]
    command = [
        *(sys.executable, "-m", "gunicorn", "django_app:application"),
        *("--workers", str(WORKERS), "--threads", "2", "--bind", f"fd://{listens.fileno()}", "--no-control-socket"),
    ]
    with (
        Program(command, cwd=tmp_path, gives=listens) as gunicorn,
        fastflow.open(tmp_path / "pipelines", data_dir=tmp_path / ".fastflow", hosting="never") as watcher,
    ):
        server = Server(port, mark)

        # All of them have opened it, and exactly one hosts.
        wait_until(lambda: bool(server.submit(f"first {len(server.promised)}")) and len(server.workers) == WORKERS, "all work")
        wait_until(lambda: watcher.host() is not None, "somebody hosts")
        for kill in range(KILLS):
            host = watcher.host()
            # It may be one that came for a dead one and has answered nothing yet.
            assert host is not None and host.pid != os.getpid()
            # Runs are in flight, and more are submitted while there is no host.
            run = server.submit(f"before {kill}")
            os.kill(host.pid, signal.SIGKILL)
            killed = time.monotonic()

            def another_hosts(dead: int = host.pid) -> bool:
                now = watcher.host()
                return now is not None and now.pid != dead

            wait_until(another_hosts, "another worker hosts")
            assert time.monotonic() - killed < TAKE_OVER_SECONDS
            server.workers.discard(host.pid)
            after = server.submit(f"after {kill}")
            for id in (run["id"], after["id"]):
                assert watcher.runs.wait(id, timeout=LIMIT_SECONDS).status is fastflow.Status.SUCCESS
        for id in server.promised:
            assert watcher.runs.wait(id, timeout=LIMIT_SECONDS).status is fastflow.Status.SUCCESS
        status, log = request(port, "GET", f"/runs/{server.promised[-1]}/logs")
        assert (status, "line 4" in log.splitlines()) == (200, True)
        gunicorn.terminate()
        assert gunicorn.wait() == 0, gunicorn.output()
    assert collections.Counter(mark.read_text().split()) == collections.Counter(set(server.promised))
