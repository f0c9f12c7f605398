"""The packages: what is installed where, who used it, bills of materials, audits."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import fastflow
import pytest
from fastflow import AuditOutcome, EnvironmentPackages, PackageOrigin, Run
from folders import write
from programs import LOOK_EVERY_SECONDS, wait_until


def wheel(folder: Path, name: str, version: str) -> str:
    """The smallest wheel, which needs no index to be installed from."""
    file = f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return file


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    """One pipeline with an old package, one with a new one, one with none."""
    for name, version in (("old", "1.0"), ("new", "2.0")):
        place = write(tmp_path / "own", name, "import tiny")
        (place / "requirements.txt").write_text(f"./{wheel(place, 'tiny', version)}\n")
    write(tmp_path / "own", "bare")
    return tmp_path / "own"


def recorded(flow: fastflow.Flow) -> None:
    """Waits until everything that was used is recorded, which happens behind the runs."""
    wait_until(lambda: flow.packages.used("tiny").unknown_environments == 0, "each environment is recorded")


@pytest.fixture
def ended(flow: fastflow.Flow) -> dict[str, Run]:
    """A run of each."""
    runs = flow.runs.wait_all([flow.run(name) for name in ("old", "new", "bare")])
    recorded(flow)
    return {run.pipeline: run.raise_for_failure() for run in runs}


def environment(run: Run) -> str:
    setup = run.attempts()[-1].setup
    assert setup is not None and setup.environment is not None
    return setup.environment


def test_what_a_run_had_installed(flow: fastflow.Flow, ended: dict[str, Run]) -> None:
    found = flow.packages.of_run(ended["old"].id)
    assert found.environment == environment(ended["old"])
    assert found.packages is not None
    (tiny,) = found.packages
    assert (tiny.name, tiny.version, tiny.origin) == ("tiny", "1.0", PackageOrigin.FILE)
    assert tiny.place is not None and tiny.place.endswith("tiny-1.0-py3-none-any.whl")
    assert flow.packages.of_environment(found.environment).packages == found.packages
    assert flow.packages.of_run(ended["bare"].id).packages == ()


def test_who_used_a_package(flow: fastflow.Flow, ended: dict[str, Run]) -> None:
    both = flow.packages.used("tiny")
    assert both.pipelines == ("new", "old")
    assert set(both.runs) == {ended["old"].id, ended["new"].id}
    assert {found.package.version for found in both.environments} == {"1.0", "2.0"}
    assert (both.more_environments, both.unknown_environments, both.next_runs) == (False, 0, None)
    old = flow.packages.used("tiny", versions="<2")
    assert (old.pipelines, old.runs) == (("old",), (ended["old"].id,))
    assert [found.environment for found in old.environments] == [environment(ended["old"])]


def test_who_used_a_package_page_by_page(flow: fastflow.Flow, ended: dict[str, Run]) -> None:
    first = flow.packages.used("tiny", limit=1)
    assert first.next_runs is not None
    second = flow.packages.used("tiny", limit=1, before=first.next_runs)
    assert second.next_runs is None
    newest_first = sorted((ended["old"].id, ended["new"].id), reverse=True)
    assert [*first.runs, *second.runs] == newest_first


def test_the_bill_of_materials(flow: fastflow.Flow, ended: dict[str, Run]) -> None:
    bill = flow.packages.sbom_of_run(ended["new"].id)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert [(part["name"], part["version"]) for part in bill["components"]][1:] == [("tiny", "2.0")]
    assert flow.packages.sbom_of_environment(environment(ended["new"])) == bill


def test_an_audit_without_its_tool(
    pipelines: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        id = environment(flow.run("old").wait())
        recorded(flow)
        assert flow.packages.audits() == []
    monkeypatch.setenv("PATH", str(tmp_path))
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        audit = flow.packages.audit(id)
        assert (audit.environment, audit.outcome, audit.audited) == (id, AuditOutcome.TOOL_MISSING, None)
        assert audit.message == "not audited: there is no pip-audit"
        assert flow.packages.audits() == flow.packages.audits(id) == [audit]
        assert flow.packages.audits("0" * len(id)) == []


def test_what_is_not_there(flow: fastflow.Flow, ended: dict[str, Run]) -> None:
    nobody = "0" * len(environment(ended["old"]))
    for call in (flow.packages.of_environment, flow.packages.sbom_of_environment, flow.packages.audit):
        with pytest.raises(fastflow.NotFoundError):
            call(nobody)
    with pytest.raises(fastflow.InvalidError):
        flow.packages.used("tiny", versions="new")


async def recorded_as_well(flow: fastflow.AsyncFlow) -> None:
    while (await flow.packages.used("tiny")).unknown_environments:
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def test_with_asyncio(pipelines: Path, data_dir: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        run = await (await flow.run("old")).wait()
        await asyncio.wait_for(recorded_as_well(flow), 60)
        found: EnvironmentPackages = await flow.packages.of_run(run.id)
        assert await flow.packages.of_environment(found.environment) == found
        assert (await flow.packages.used("tiny")).runs == (run.id,)
        bill = await flow.packages.sbom_of_run(run.id)
        assert bill == await flow.packages.sbom_of_environment(found.environment)
        audit = await flow.packages.audit(found.environment)
        assert await flow.packages.audits(found.environment) == [audit]
