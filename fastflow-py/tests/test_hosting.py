"""Several flows of one data directory: one hosts, the others submit and read."""

from __future__ import annotations

import os
from pathlib import Path

import fastflow
import pytest
from fastflow import Hosting, Status
from folders import write
from programs import wait_until


def test_one_hosts_and_the_others_submit_and_read(pipelines: Path, data_dir: Path) -> None:
    with (
        fastflow.open(pipelines, data_dir=data_dir, hosting=Hosting.REQUIRED) as host,
        fastflow.open(pipelines, data_dir=data_dir, hosting="never") as guest,
    ):
        here, there = host.host(), guest.host()
        assert here is not None and there is not None
        assert (here.is_here, there.is_here, here.pid, there.pid) == (True, False, os.getpid(), os.getpid())
        assert here.since == there.since
        run = guest.run("hello", parameters={"who": "guest"})
        assert run.wait(timeout=60).status is Status.SUCCESS
        assert any(line.text == "hello, guest" for line in run.logs())
        with pytest.raises(fastflow.ConflictError) as refused:
            fastflow.open(pipelines, data_dir=data_dir, hosting="required").start()
        assert refused.value.context["pid"] == str(os.getpid())
        with pytest.raises(fastflow.ConflictError, match="only the process that hosts"):
            guest.source.sync()


def test_the_next_one_hosts_when_the_first_has_closed(pipelines: Path, data_dir: Path) -> None:
    first = fastflow.open(pipelines, data_dir=data_dir).start()
    with fastflow.open(pipelines, data_dir=data_dir) as second:
        info = second.host()
        assert info is not None and not info.is_here
        first.close()

        def hosts() -> bool:
            info = second.host()
            return info is not None and info.is_here

        wait_until(hosts, "the second one hosts")
        assert second.run("hello").wait(timeout=60).status is Status.SUCCESS


def test_without_a_host_what_is_submitted_waits(pipelines: Path, data_dir: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir):
        pass
    with fastflow.open(pipelines, data_dir=data_dir, hosting=Hosting.NEVER) as guest:
        assert guest.host() is None
        run = guest.run("hello")
        assert run.status is Status.PENDING
        with fastflow.open(pipelines, data_dir=data_dir):
            assert run.wait(timeout=60).status is Status.SUCCESS


def test_a_way_to_host_that_nobody_knows_is_refused(pipelines: Path, data_dir: Path) -> None:
    with pytest.raises(fastflow.InvalidError, match="'when_free'"):
        fastflow.open(pipelines, data_dir=data_dir, hosting="sometimes")


def test_a_folder_has_one_data_directory_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project" / "pipelines"
    write(folder, "hello")
    monkeypatch.chdir(folder)
    with fastflow.open(".", hosting="required") as host:
        assert host.data_dir == tmp_path / "project" / ".fastflow"
        for same in (".", "./", "../pipelines", "hello/..", Path.cwd(), Path(), f"{folder}/."):
            with pytest.raises(fastflow.ConflictError):
                fastflow.open(same, hosting="required").start()
    # A link is a folder of its own, wherever it leads to.
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(folder)
    with fastflow.open(link, hosting="never") as flow:
        assert flow.data_dir == tmp_path / "elsewhere" / ".fastflow"


def test_a_step_back_over_a_link_leads_to_where_its_folder_is(tmp_path: Path) -> None:
    release, shared = tmp_path / "releases" / "3", tmp_path / "releases" / "shared" / "pipelines"
    (release / "pipelines").mkdir(parents=True)
    write(shared, "hello")
    current = tmp_path / "current"
    current.symlink_to(release)
    with fastflow.open(shared, hosting="required") as host:
        with fastflow.open(f"{current}/../shared/pipelines", hosting="never") as guest:
            info = guest.host()
            assert guest.data_dir == host.data_dir and info is not None and info.source == str(shared)
            assert guest.run("hello").wait(timeout=60).status is Status.SUCCESS
    # The link of a deployment stays where nothing steps back over it: the next release has the same data directory.
    with fastflow.open(f"{current}/pipelines/../pipelines", hosting="never") as flow:
        assert flow.data_dir == current / ".fastflow"


@pytest.mark.parametrize("hosting", ["when_free", "never"])
def test_a_host_of_a_folder_that_was_renamed_and_cannot_say_who_it_is_keeps_nobody_out(
    tmp_path: Path, hosting: str
) -> None:
    write(tmp_path / "pipelines", "hello")
    with fastflow.open(tmp_path / "pipelines"):
        (tmp_path / "pipelines").rename(tmp_path / "flows")
        with fastflow.open(tmp_path / "flows", hosting=hosting) as guest:
            assert guest.run("hello").wait(timeout=60).status is Status.SUCCESS
        # As on a full disk.
        os.truncate(tmp_path / ".fastflow" / "fastflow.db.lock", 0)
        with fastflow.open(tmp_path / "flows", hosting=hosting) as guest:
            assert guest.run("hello").wait(timeout=60).status is Status.SUCCESS


@pytest.mark.parametrize("hosting", ["when_free", "never"])
def test_the_usual_data_directory_is_not_shared_with_a_host_of_other_pipelines(tmp_path: Path, hosting: str) -> None:
    one, other = tmp_path / "pipelines", tmp_path / "staging"
    for folder in (one, other):
        write(folder, "hello")
    with fastflow.open(one, hosting="required") as host:
        info = host.host()
        assert info is not None and info.source == str(one)
        with pytest.raises(fastflow.ConflictError, match="give `data_dir`") as refused:
            fastflow.open(other, hosting=hosting).start()
        context = refused.value.context
        assert (context["its_source"], context["own_source"]) == (str(one), str(other))
        assert context["data_directory"] == str(tmp_path / ".fastflow")
        # Who named it, or has the same pipelines by another name, knows what it does.
        (tmp_path / "link").symlink_to(one)
        with fastflow.open(other, data_dir=tmp_path / ".fastflow", hosting=hosting) as guest:
            info = guest.host()
            assert info is not None and (info.is_here, info.source) == (False, str(one))
        with fastflow.open(tmp_path / "link", hosting=hosting) as guest:
            assert guest.run("hello").wait(timeout=60).status is Status.SUCCESS
    with fastflow.open(other, hosting=hosting):
        pass


async def test_an_async_flow_is_refused_the_usual_data_directory_of_others(tmp_path: Path) -> None:
    for name in ("pipelines", "staging"):
        write(tmp_path / name, "hello")
    async with fastflow.open(tmp_path / "pipelines"):
        with pytest.raises(fastflow.ConflictError, match="staging"):
            await fastflow.open(tmp_path / "staging")


def test_a_folder_without_a_place_beside_it_needs_a_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pipelines", "hello")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fastflow.InvalidError, match="give `data_dir`"):
        fastflow.open("/").start()
    for option, given in {
        "pipelines": {"pipelines": ""},
        "pipelines ": {"pipelines": "", "data_dir": "data"},
        "data_dir": {"pipelines": "pipelines", "data_dir": ""},
    }.items():
        with pytest.raises(fastflow.InvalidError, match=f"`{option.strip()}` is empty"):
            fastflow.open(**given).start()
    assert [path.name for path in tmp_path.iterdir()] == ["pipelines"]


async def test_an_async_flow_knows_its_host(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        info = await flow.host()
        assert info is not None and info.is_here


def test_a_log_may_be_left_half_read(pipelines: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", ignored.append)
    with (
        fastflow.open(pipelines, data_dir=data_dir) as host,
        fastflow.open(pipelines, data_dir=data_dir, hosting="never") as guest,
    ):
        run = host.run("hello").wait(timeout=60)
        for flow in (host, guest):
            lines = iter(flow.runs.logs(run.id))
            assert next(lines).text
            del lines
    assert ignored == []
