"""The first example works wherever people begin: as a script, under ``python -c``, in a test, a notebook, a web app."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from programs import Program, listener, request

TWINS = {"sync": "first.py", "async": "first_async.py"}
LIMIT_SECONDS = 120


@pytest.fixture
def elsewhere(tmp_path: Path, pipelines: Path) -> Path:
    """A folder outside the repository, with the pipelines in it. ``hello`` greets the world only when it is told to."""
    shutil.copytree(pipelines, tmp_path / "pipelines")
    definition = tmp_path / "pipelines" / "hello" / "pipeline.json"
    assert '"world"' in definition.read_text()
    definition.write_text(definition.read_text().replace('"world"', '"nobody"'))
    return tmp_path


def example(repository: Path, twin: str) -> str:
    return (repository / "examples" / "python" / TWINS[twin]).read_text()


def python(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def check(output: str) -> None:
    lines = output.splitlines()
    assert "hello, world" in lines
    assert lines[-1] == "SUCCESS"


def test_the_readme_shows_the_example(repository: Path) -> None:
    code = example(repository, "sync").split('"""', 2)[2].strip()
    for readme in (repository / "README.md", repository / "fastflow-py" / "README.md"):
        assert code in readme.read_text(), f"{readme} shows another first example"


@pytest.mark.parametrize("twin", TWINS)
def test_as_a_script(repository: Path, elsewhere: Path, twin: str) -> None:
    (elsewhere / "example.py").write_text(example(repository, twin))
    check(python("example.py", cwd=elsewhere))


@pytest.mark.parametrize("twin", TWINS)
def test_under_python_c(repository: Path, elsewhere: Path, twin: str) -> None:
    check(python("-c", example(repository, twin), cwd=elsewhere))


@pytest.mark.parametrize("twin", TWINS)
def test_in_a_test(repository: Path, elsewhere: Path, twin: str) -> None:
    body = textwrap.indent(example(repository, twin), "    ")
    (elsewhere / "test_example.py").write_text(f"def test_example() -> None:\n{body}\n")
    output = python(
        "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", "-p", "no:asyncio", "test_example.py", cwd=elsewhere
    )
    assert "1 passed" in output
    assert "hello, world" in output


@pytest.mark.parametrize("twin", TWINS)
def test_in_a_notebook(repository: Path, elsewhere: Path, twin: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    code = example(repository, twin)
    if twin == "async":
        # A kernel has a running loop already, and awaits at the top level.
        code = code.replace("asyncio.run(main())", "await main()")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = nbclient.NotebookClient(notebook, timeout=LIMIT_SECONDS, kernel_name="python3")
    client.execute(cwd=str(elsewhere))
    printed = "".join(output["text"] for output in notebook.cells[0].outputs if output["output_type"] == "stream")
    check(printed)


def test_in_a_web_app(repository: Path, elsewhere: Path) -> None:
    pytest.importorskip("fastapi")
    shutil.copy(repository / "examples" / "python" / "fastapi_app.py", elsewhere)
    listens = listener()
    port: int = listens.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--fd", str(listens.fileno())]
    with Program(command, cwd=elsewhere, gives=listens) as server:
        status, run = request(port, "POST", "/pipelines/hello/runs", json={"who": "world"})
        assert status == 202
        status, log = request(port, "GET", f"/runs/{run['id']}/logs")
        assert status == 200
        assert "hello, world" in log.splitlines()
        status, run = request(port, "GET", f"/runs/{run['id']}?wait_seconds=30")
        assert (status, run["status"]) == (200, "SUCCESS")
        assert request(port, "POST", "/pipelines/no-such/runs")[0] == 404
        server.terminate()
        # It ends by the signal once it has shut down.
        assert server.wait() == -signal.SIGTERM, server.output()
        assert "Application shutdown complete" in server.output()


def test_the_versions_agree(repository: Path) -> None:
    import fastflow

    manifest = (repository / "Cargo.toml").read_text()
    found = re.search(r'^version = "(.+)"$', manifest, re.MULTILINE)
    assert found is not None and found[1] == fastflow.__version__
