"""One build serves every CPython from 3.10 on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fastflow
import pytest
from uv import find_uv_bin

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_example(version: str, repository: Path, tmp_path: Path) -> None:
    finding = [find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project", "--system", version]
    found = subprocess.run(finding, capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip(f"python/{version}: there is no such Python on this machine")
    # The package as it was installed, and nothing else of its environment.
    shutil.copytree(Path(fastflow.__file__).parent, tmp_path / "site" / "fastflow")
    shutil.copytree(repository / "examples" / "pipelines", tmp_path / "pipelines")
    env = {
        "PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(tmp_path / "site"),
    }
    example = repository / "examples" / "python" / "first.py"
    command = [found.stdout.strip(), "-W", "error", "-X", "dev", str(example)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "hello, world" in done.stdout.splitlines()
    assert done.stderr == ""


def test_an_import_takes_nothing_heavy_with_it() -> None:
    """By what is imported, for a time says more about the machine. The time is measured by a benchmark."""
    code = "import sys; import fastflow; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "IPython", "concurrent.futures", "cloudpickle", "anywidget", "http", "email", "uv"}
    assert heavy.isdisjoint(done.stdout.split())
