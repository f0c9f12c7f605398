"""The web applications of the examples answer bad requests as such."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from programs import Program, listener, request

SERVERS = {"fastapi_app": ("uvicorn", "--fd", "{}"), "django_app": ("gunicorn", "--bind", "fd://{}")}
APPLICATION = {"fastapi_app": "app", "django_app": "application"}


@pytest.fixture(params=SERVERS)
def application(request: pytest.FixtureRequest) -> str:
    """The module of the example."""
    name: str = request.param
    for package in (name.removesuffix("_app"), SERVERS[name][0]):
        pytest.importorskip(package)
    return name


@pytest.fixture
def port(application: str, repository: Path, tmp_path: Path, pipelines: Path) -> Iterator[int]:
    """The port where the example listens."""
    shutil.copy(repository / "examples" / "python" / f"{application}.py", tmp_path)
    shutil.copytree(pipelines, tmp_path / "pipelines")
    (server, option, where), listens = SERVERS[application], listener()
    port: int = listens.getsockname()[1]
    command = [sys.executable, "-m", server, f"{application}:{APPLICATION[application]}"]
    with Program([*command, option, where.format(listens.fileno())], cwd=tmp_path, gives=listens) as program:
        yield port
        program.terminate()
        program.wait()


def submitted(port: int, application: str, name: str, parameters: dict[str, str], key: str = "one") -> int:
    path, headers = f"/pipelines/{name}/runs", {"Idempotency-Key": key}
    if application == "fastapi_app":
        return request(port, "POST", path, json=parameters, headers=headers)[0]
    form = "&".join(f"{name}={value}" for name, value in parameters.items())
    return request(port, "POST", path, form=form, headers=headers)[0]


def test_what_a_client_has_to_mend_is_no_fault_of_the_server(application: str, port: int) -> None:
    assert submitted(port, application, "hello", {"who": "world"}) == 202
    assert submitted(port, application, "no-such", {}) == 404
    assert submitted(port, application, "no%20such", {}) == 400
    assert submitted(port, application, "hello", {"": "x"}) == 400
    assert submitted(port, application, "hello", {}, key="k" * 2_000) == 400
    for path in ("", "/logs"):
        assert request(port, "GET", f"/runs/{uuid4()}{path}")[0] == 404
        assert request(port, "GET", f"/runs/nonsense{path}")[0] in (400, 422)
    if application == "fastapi_app":
        _, run = request(port, "POST", "/pipelines/hello/runs")
        assert request(port, "GET", f"/runs/{run['id']}?wait_seconds=60")[1]["status"] == "SUCCESS"
        assert request(port, "POST", f"/runs/{run['id']}/cancel")[0] == 409
