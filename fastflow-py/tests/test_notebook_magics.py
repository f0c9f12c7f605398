"""``%load_ext fastflow`` in a real kernel, and the notebook of the examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("jupyter_client")

from kernels import LIMIT_SECONDS, Kernel

GATED = """
import os, sys, time
from pathlib import Path
print("began", flush=True)
while not Path({gate!r}).exists():
    time.sleep(0.02)
print("done")
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel with the extension, and a flow that it has opened."""
    (tmp_path / "pipelines").mkdir()
    with Kernel(tmp_path) as kernel:
        kernel.execute("%load_ext fastflow")
        kernel.execute(f"%fastflow open '{tmp_path}/pipelines' --data-dir '{tmp_path}/data'")
        yield kernel


@pytest.mark.parametrize("prelude", ["", "import sys; sys.modules['anywidget'] = None"])
def test_a_cell_runs_isolated_and_is_shown(kernel: Kernel, prelude: str) -> None:
    kernel.execute(prelude + "\nimport os\nmine = 1")
    cell = kernel.execute(
        "%%fastflow --memory 512m --time-limit 60 --name probe --as probe\n"
        "import os\n"
        "print('mine' in globals(), '<b>', os.getpid())\n"
    )
    assert "SUCCESS" in cell.html() and "False &lt;b&gt;" in cell.html()
    assert not kernel.widgets
    assert kernel.execute("probe.status.value, probe.pipeline").result() == "('SUCCESS', 'code.probe')"
    kernel.execute("(line,) = [line.text for line in probe.logs() if line.stream == 'stdout']")
    assert kernel.execute("line.startswith('False <b>'), line.endswith(f' {os.getpid()}')").result() == "(True, False)"


def test_a_cell_has_the_packages_that_it_names(kernel: Kernel) -> None:
    code = "import tabulate\nprint('has', tabulate.__name__)"
    cell = kernel.execute(f"%%fastflow --with 'tabulate>=0.9' --as tables\n{code}")
    assert "has tabulate" in cell.html() and "SUCCESS" in cell.html()


def test_a_failure_is_a_value(kernel: Kernel) -> None:
    cell = kernel.execute("%%fastflow\nraise SystemExit(3)")
    assert "FAILED" in cell.html() and "exit code 3" in cell.html()
    assert kernel.execute("_run.failure.exit_code").result() == "3"


def test_an_interrupt_ends_the_watching_and_not_the_run(kernel: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cell = kernel.start("%%fastflow --as slow\n" + GATED.format(gate=str(gate)))
    kernel.until(lambda: "began" in str(kernel.widgets) or "began" in cell.html(), "the log is in the view")
    kernel.manager.interrupt_kernel()
    kernel.finish(cell)
    assert cell.error() is None
    assert "slow.cancel() cancels it" in cell.text()
    kernel.until(lambda: "Not followed any more" in cell.html(), "the view says so")
    assert kernel.execute("slow.refresh().status.value").result() == "'RUNNING'"
    gate.touch()
    assert kernel.execute("slow.wait().status.value").result() == "'SUCCESS'"


def test_a_cell_in_the_background_leaves_the_kernel_free(kernel: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cell = kernel.execute("%%fastflow --background --as slow\n" + GATED.format(gate=str(gate)))
    assert kernel.execute("slow.is_final").result() == "False"
    gate.touch()
    kernel.until(lambda: "SUCCESS" in cell.html(), "the end is in the view")


def test_the_flow_is_found_by_its_name_whatever_its_face(kernel: Kernel, tmp_path: Path) -> None:
    kernel.execute("%fastflow close")
    kernel.execute(
        f"import fastflow\nmine = await fastflow.open('{tmp_path}/pipelines', data_dir='{tmp_path}/data')"
    )
    cell = kernel.execute("%%fastflow --flow mine\nprint('there')")
    assert "there" in cell.html() and "SUCCESS" in cell.html()


def test_a_flow_is_opened_with_executors(kernel: Kernel, tmp_path: Path) -> None:
    missing = kernel.finish(kernel.start("%%fastflow --executor docker\npass"))
    assert "UsageError" in missing.text() and 'executors=["process", "docker"]' in missing.text()
    kernel.execute("%fastflow close")
    opened = f"%fastflow open '{tmp_path}/pipelines' --data-dir '{tmp_path}/data'"
    kernel.execute(f"{opened} --executor docker")
    assert kernel.execute("flow.run_code('pass', delay=3600).executor").result() == "'docker'"
    cell = kernel.execute("%%fastflow --executor process\nprint('there')")
    assert "there" in cell.html() and "SUCCESS" in cell.html()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("%%fastflow --memroy 4g\npass", "unrecognized arguments: --memroy 4g"),
        ("%%fastflow --as 1x\npass", "'1x' is no name of a variable"),
        ("%%fastflow --as class\npass", "'class' is no name of a variable"),
        ("%%fastflow --flow nothing\npass", "there is no flow in the variable 'nothing'"),
        ("%%fastflow --memory lots\npass", "`memory` is 'lots'"),
        ("%%fastflow --with 'polars\npass", "No closing quotation"),
        ("%fastflow", "COMMAND"),
        ("%%fastflow --as flow\npass", "flow holds a flow"),
        ("other = flow\nget_ipython().run_cell_magic('fastflow', '--as other', 'pass')", "other holds a flow"),
        (
            "other = flow; del flow\nget_ipython().run_cell_magic('fastflow', '--flow other --as other', 'pass')",
            "other holds a flow",
        ),
        ("%fastflow open elsewhere", "flow is <fastflow.Flow"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(kernel: Kernel, code: str, says: str) -> None:
    cell = kernel.finish(kernel.start(code))
    assert "UsageError" in cell.text() and says in cell.text(), cell.outputs
    assert "Traceback" not in cell.text()


def test_the_options_are_told(kernel: Kernel) -> None:
    assert "--with PACKAGE" in kernel.execute("%%fastflow --help\npass").text()
    both = kernel.execute("%fastflow --help").text()
    assert "--with PACKAGE" in both and "open" in both and "close" in both


def test_the_tour(repository: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    folder = repository / "examples" / "notebooks"
    tour = nbformat.read(folder / "tour.ipynb", as_version=4)
    cells = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells), "kept without outputs"
    nbclient.NotebookClient(tour, timeout=LIMIT_SECONDS, kernel_name="python3").execute(cwd=str(folder))
    shown = "\n".join(str(cell.outputs) for cell in cells)
    for each in ("hello, the notebook", "hello, asyncio", "FAILED", "code.squares", "hello SUCCESS"):
        assert each in shown, each
