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


def interpreter_of(version: str) -> str | None:
    """A Python of this version on this machine: one that uv finds, or one of pyenv's."""
    finding = [find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project", "--system", version]
    found = subprocess.run(finding, capture_output=True, text=True)
    if found.returncode == 0:
        return found.stdout.strip()
    of_pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    return next((str(path) for path in sorted(of_pyenv.glob(f"{version}.*/bin/python"))), None)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_example(version: str, repository: Path, tmp_path: Path) -> None:
    interpreter = interpreter_of(version)
    if interpreter is None:
        pytest.skip(f"{version}: there is no such Python on this machine")
    # The package as it was installed, and nothing else of its environment.
    shutil.copytree(Path(fastflow.__file__).parent, tmp_path / "site" / "fastflow")
    shutil.copytree(repository / "examples" / "pipelines", tmp_path / "pipelines")
    env = {
        "PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}",
        **{name: os.environ[name] for name in ("HOME",) if name in os.environ},
        "PYTHONPATH": str(tmp_path / "site"),
    }
    example = repository / "examples" / "python" / "first.py"
    command = [interpreter, "-W", "error", "-X", "dev", str(example)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "hello, world" in done.stdout.splitlines()
    assert done.stderr == ""


def test_an_import_takes_nothing_heavy_with_it() -> None:
    """By what is imported, for a time says more about the machine. The time is measured by a benchmark."""
    code = "import sys; before = set(sys.modules); import fastflow; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "IPython", "concurrent.futures", "cloudpickle", "anywidget", "http", "email", "uv"}
    assert heavy.isdisjoint(done.stdout.split())
