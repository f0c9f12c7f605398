"""The source: a folder, and a repository on a disk and behind git's own servers."""

from __future__ import annotations

import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fastflow
import pytest
from fastflow import ChangeKind, Status, SyncFailureKind, SyncOutcome
from programs import Program, listener

if shutil.which("git") is None:
    pytest.skip("git: install it with `tools/setup-git`", allow_module_level=True)

AUTHOR = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@b"}


class Repository:
    """A repository with pipelines in its folder `jobs`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("hello", "print('one')", "Begin")

    def git(self, *args: str) -> str:
        """What git answers."""
        # A hook of git, for one, has variables that name its own repository.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env = {**inherited, **AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *args], cwd=self.place, env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, name: str, program: str, subject: str) -> str:
        """Commits a pipeline, and answers the commit."""
        (self.place / "jobs" / name).mkdir(parents=True, exist_ok=True)
        (self.place / "jobs" / name / "main.py").write_text(program)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository_of_jobs(tmp_path: Path) -> Repository:
    """A repository with one pipeline."""
    return Repository(tmp_path / "repository")


@pytest.fixture
def daemon(tmp_path: Path, repository_of_jobs: Repository) -> Iterator[str]:
    """The address of that repository at `git daemon`."""
    command = ["git", "daemon", "--inetd", "--export-all", f"--base-path={tmp_path}", os.fspath(tmp_path)]

    class Connection(socketserver.BaseRequestHandler):
        """One client, and a daemon of its own for it."""

        def handle(self) -> None:
            subprocess.run(command, stdin=self.request, stdout=self.request, check=False)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"git://127.0.0.1:{server.server_address[1]}/repository"
        server.shutdown()
        serving.join()


def printed(run: fastflow.Run) -> list[str]:
    """What the program of a run wrote."""
    return [line.text for line in run.logs() if line.stream == "stdout"]


def test_a_folder_is_synced_and_says_what_has_changed(tmp_path: Path, data_dir: Path) -> None:
    folder = tmp_path / "pipelines"
    (folder / "first").mkdir(parents=True)
    (folder / "first" / "main.py").write_text("print(1)")
    with fastflow.open(folder, data_dir=data_dir) as flow:
        status = flow.source.status()
        assert status.is_well and flow.source.is_well() and status.commit is None
        assert (status.pipelines, status.broken, status.last_failure) == (1, 0, None)
        with pytest.raises(fastflow.UnsupportedError):
            flow.source.forget_host_key()


def test_a_repository_is_published_with_its_commit(repository_of_jobs: Repository, data_dir: Path, daemon: str) -> None:
    git = fastflow.Git(daemon, subfolder="jobs", insecure=["git"])
    with fastflow.open(git=git, data_dir=data_dir) as flow:
        first = repository_of_jobs.git("rev-parse", "HEAD")
        flow.source.sync()
        commit = flow.source.status().commit
        assert commit is not None
        assert (commit.id, commit.branch, commit.author, commit.subject) == (first, "main", "Ada", "Begin")
        run = flow.run("hello").wait(timeout=60)
        assert (printed(run), run.commit) == (["one"], first)

        second = repository_of_jobs.commit("added", "print('two')", "Add one")
        probe = flow.source.probe()
        assert (probe.commit, probe.branches, probe.host_key) == (second, ("main",), None)
        sync = flow.source.sync()
        assert (sync.outcome, sync.trigger, sync.previous) == (SyncOutcome.PUBLISHED, fastflow.SyncTrigger.CALL, first)
        assert [(change.pipeline, change.kind) for change in sync.changes] == [("added", ChangeKind.ADDED)]
        assert sync.commit is not None and sync.commit.id == second
        assert (sync.commits_ahead, sync.commits_behind) == (0, 1)
        assert sync.bytes > 0 and sync.duration.total_seconds() > 0
        assert flow.source.sync().outcome is SyncOutcome.UNCHANGED
        assert printed(flow.run("added").wait(timeout=60)) == ["two"]

        syncs = list(flow.source.syncs())
        assert [entry.id for entry in syncs] == sorted((entry.id for entry in syncs), reverse=True)
        assert sync in syncs and len(list(flow.source.syncs(limit=1))) == 1


def test_branches_tags_and_paths_are_published(repository_of_jobs: Repository, data_dir: Path) -> None:
    repository_of_jobs.git("tag", "v1")
    repository_of_jobs.git("switch", "--quiet", "--create", "next")
    newest = repository_of_jobs.commit("hello", "print('two')", "Change it")
    address = os.fspath(repository_of_jobs.place)
    tagged = fastflow.Git(address, tag="v1", subfolder="jobs", insecure=[fastflow.InsecureScheme.FILE])
    with fastflow.open(git=tagged, data_dir=data_dir) as flow:
        flow.source.sync()
        assert printed(flow.run("hello").wait(timeout=60)) == ["one"]
    branch = fastflow.Git(address, branch="main", subfolder="jobs", insecure=["file"])
    with fastflow.open(git=branch, data_dir=data_dir) as flow:
        sync = flow.source.sync(branch="next")
        assert (sync.branch, sync.commit and sync.commit.id) == ("next", newest)
        assert printed(flow.run("hello").wait(timeout=60)) == ["two"]
        with pytest.raises(fastflow.NotFoundError, match="nowhere"):
            flow.source.sync(branch="nowhere")
        status = flow.source.status()
        assert not status.is_well and status.last_failure is not None and status.last_failure_at is not None
        assert status.last_failure.kind is SyncFailureKind.MISSING and not status.last_failure.is_transient
        assert status.commit is not None and status.commit.id == newest


def test_what_is_not_allowed_is_not_reached(repository_of_jobs: Repository, data_dir: Path, daemon: str) -> None:
    with pytest.raises(fastflow.InvalidError, match="only https and ssh"):
        fastflow.open(git=fastflow.Git(daemon), data_dir=data_dir).start()
    password = fastflow.Git("https://me:hunter2@git.example.org/x.git")
    with pytest.raises(fastflow.InvalidError, match="credentials") as refused:
        fastflow.open(git=password, data_dir=data_dir).start()
    assert "hunter2" not in str(refused.value)
    small = fastflow.Git(daemon, subfolder="jobs", insecure=["git"], limits=fastflow.GitLimits(max_fetch=10))
    with pytest.raises(fastflow.InvalidError, match="more than the 10 bytes"):
        fastflow.open(git=small, data_dir=data_dir).start()


def test_a_token_is_shown_to_a_server_over_http(tmp_path: Path, repository_of_jobs: Repository, data_dir: Path) -> None:
    listens = listener()
    script = Path(__file__).parent / "hosts" / "git_server.py"
    server = [sys.executable, os.fspath(script), str(listens.fileno()), os.fspath(tmp_path)]
    address = f"http://127.0.0.1:{listens.getsockname()[1]}/repository"
    with Program(server, cwd=tmp_path, gives=listens):
        (tmp_path / "token").write_text("hunter2\n")
        right = [
            fastflow.Git(address, subfolder="jobs", insecure=["http"], token="hunter2", username="ada"),
            fastflow.Git(address, subfolder="jobs", insecure=["http"], token_file=tmp_path / "token", username="ada"),
        ]
        for git in right:
            with fastflow.open(git=git, data_dir=data_dir) as flow:
                flow.source.sync()
                assert flow.source.is_well()
                assert printed(flow.run("hello").wait(timeout=60)) == ["one"]
        # What was published is shown, though there is no way to the server now.
        wrong = fastflow.Git(address, subfolder="jobs", insecure=["http"], token="not-the-token")
        with fastflow.open(git=wrong, data_dir=data_dir) as flow:
            with pytest.raises(fastflow.DeniedError) as refused:
                flow.source.sync()
            assert "not-the-token" not in str(refused.value)
            failure = flow.source.status().last_failure
            assert failure is not None and failure.kind is SyncFailureKind.AUTHENTICATION
            assert printed(flow.run("hello").wait(timeout=60)) == ["one"]


def test_syncs_are_told_as_they_happen(repository_of_jobs: Repository, data_dir: Path) -> None:
    git = fastflow.Git(os.fspath(repository_of_jobs.place), subfolder="jobs", insecure=["file"])
    with fastflow.open(git=git, data_dir=data_dir, preheat=1) as flow:
        flow.source.sync()
        events = flow.source.events(timeout=60)
        commit = repository_of_jobs.commit("added", "print(2)", "Add one")
        flow.source.sync()
        seen: list[fastflow.SourceEvent] = []
        for event in events:
            seen.append(event)
            if isinstance(event, fastflow.SyncEnded) and event.sync.commit and event.sync.commit.id == commit:
                break
        assert any(isinstance(event, fastflow.SyncStarted) for event in seen)
        waits = flow.source.events(timeout=0.05)
        with pytest.raises(fastflow.TimedOutError):
            for _ in waits:
                pass


async def test_an_async_flow_has_the_same_source(repository_of_jobs: Repository, data_dir: Path) -> None:
    git = fastflow.Git(os.fspath(repository_of_jobs.place), subfolder="jobs", insecure=["file"])
    async with fastflow.open(git=git, data_dir=data_dir) as flow:
        await flow.source.sync()
        assert await flow.source.is_well()
        assert (await flow.source.status()).pipelines == 1
        assert (await flow.source.probe()).branches == ("main",)
        assert [sync.outcome async for sync in flow.source.syncs(limit=5)][-1] is SyncOutcome.PUBLISHED
        assert await flow.source.forget_host_key() is None
        events = flow.source.events(timeout=60)
        repository_of_jobs.commit("added", "print(2)", "Add one")
        await flow.source.sync()
        async for event in events:
            if isinstance(event, fastflow.SyncEnded) and event.sync.changes:
                assert event.sync.changes[0].pipeline == "added"
                break
        run = await flow.run("added")
        assert (await run.wait(timeout=60)).status is Status.SUCCESS
