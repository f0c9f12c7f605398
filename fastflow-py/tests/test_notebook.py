"""Notebooks: with a real kernel, and with what its front ends would show."""

from __future__ import annotations

import html.parser
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fastflow
import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("jupyter_client")

from fastflow import notebook
from fastflow.notebook._curve import MAX_POINTS, Curve
from fastflow.notebook._tail import MAX_LINE_BYTES
from kernels import Kernel

HOSTILE = "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' \x1b[31mred\x1b[0m &amp;"
SEEN_OF_HOSTILE = "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' red &amp;"

GATED = """
import os, time
from pathlib import Path

gate = Path(os.environ["gate"])
print("began", flush=True)
print("::progress 40::half of it", flush=True)
print(os.environ.get("say", ""), flush=True)
while not gate.exists():
    time.sleep(0.02)
for line in range(200):
    print("line", line)
print("done")
"""


class Document(html.parser.HTMLParser):
    """What a browser makes of HTML: the elements, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def assert_harmless(self) -> None:
        """Nothing in it runs, and nothing of it comes from elsewhere."""
        known = {"div", "span", "style", "table", "thead", "tbody", "tr", "th", "td", "code", "pre"}
        assert self.tags <= known | {"svg", "title", "polygon", "polyline"}
        assert not [name for name, _ in self.attributes if name.startswith("on") or name in ("src", "href")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with pipelines that wait for a file before they end."""
    for name in ("gated", "hostile"):
        (tmp_path / "pipelines" / name).mkdir(parents=True)
        (tmp_path / "pipelines" / name / "main.py").write_text(GATED)
    return tmp_path


@pytest.fixture
def gate(folder: Path) -> Path:
    """The file that they wait for."""
    return folder / "gate"


@pytest.fixture
def kernel(folder: Path) -> Iterator[Kernel]:
    """A kernel with an open flow."""
    with Kernel(folder) as kernel:
        kernel.execute(opened(folder))
        yield kernel


def opened(folder: Path) -> str:
    return (
        "import fastflow\n"
        f"flow = fastflow.open({str(folder / 'pipelines')!r}, data_dir={str(folder / 'data')!r}).start()"
    )


def submitted(gate: Path, say: str = "") -> str:
    return f"run = flow.run('gated', parameters={{'gate': {str(gate)!r}, 'say': {say!r}}})"


WITHOUT_WIDGETS = "import sys; sys.modules['anywidget'] = None"
THREADS = "import threading; [each.name for each in threading.enumerate() if each.name == 'fastflow-view']"


def test_a_run_that_ended_is_html_and_text(kernel: Kernel, gate: Path) -> None:
    gate.touch()
    cell = kernel.execute(submitted(gate, HOSTILE) + "\nrun.wait()")
    (output,) = cell.outputs
    assert output["kind"] == "execute_result"
    assert set(output["data"]) == {"text/plain", "text/html"}
    assert output["data"]["text/plain"].startswith("Run(id=UUID(")
    document = Document(cell.html())
    document.assert_harmless()
    assert "SUCCESS" in document.text and "gated" in document.text and SEEN_OF_HOSTILE in document.text


def test_a_run_in_flight_is_shown_live_without_widgets(kernel: Kernel, gate: Path) -> None:
    kernel.execute(WITHOUT_WIDGETS)
    cell = kernel.execute(submitted(gate, HOSTILE) + "\nrun")
    kernel.until(
        lambda: all(text in Document(cell.html()).text for text in (SEEN_OF_HOSTILE, "RUNNING")),
        "the log is in the view of a run in flight",
    )
    document = Document(cell.html())
    document.assert_harmless()
    assert "40 %" in document.text and "half of it" in document.text
    assert "flow.runs.cancel(" in document.text
    # The kernel is free, and the view outlives an interrupt of what it does.
    assert kernel.execute("1 + 1").result() == "2"
    assert kernel.execute(THREADS).result() == "['fastflow-view']"
    blocked = kernel.start("print('blocks'); run.wait()")
    kernel.until(lambda: "blocks" in blocked.text(), "the call blocks")
    kernel.manager.interrupt_kernel()
    assert (kernel.finish(blocked).error() or {})["ename"] == "KeyboardInterrupt"
    gate.touch()
    kernel.until(lambda: "SUCCESS" in cell.html(), "the end is in the view")
    (output,) = cell.outputs
    assert set(output["data"]) == {"text/plain", "text/html"}
    assert "SUCCESS" in output["data"]["text/plain"]
    assert output["updated_by"] == cell.message, "front ends drop what does not belong to the cell"
    ended = Document(cell.html())
    ended.assert_harmless()
    assert "done" in ended.text and "line 150" in ended.text and "line 50" not in ended.text
    assert "flow.runs.cancel(" not in ended.text
    kernel.until(lambda: kernel.execute(THREADS).result() == "[]", "the thread of the view has ended")


def test_a_run_in_flight_is_a_widget_whose_button_cancels(kernel: Kernel, gate: Path) -> None:
    pytest.importorskip("anywidget")
    cell = kernel.execute(submitted(gate, HOSTILE) + "\nrun")
    (output,) = cell.outputs
    widget = output["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert "text/html" in output["data"], "for front ends without widgets"
    kernel.until(lambda: SEEN_OF_HOSTILE in Document(kernel.widgets[widget]["html"]).text, "the log is in the widget")
    Document(kernel.widgets[widget]["html"]).assert_harmless()
    kernel.press_cancel(widget)
    kernel.until(lambda: widget not in kernel.widgets, "the widget is closed when the run has ended")
    (output,) = cell.outputs
    assert set(output["data"]) == {"text/plain", "text/html"}, "what is saved needs no kernel"
    assert "CANCELLED" in Document(cell.html()).text
    assert kernel.execute("run.refresh().status.value").result() == "'CANCELLED'"


def test_a_view_says_that_its_flow_was_closed(kernel: Kernel, gate: Path) -> None:
    kernel.execute(WITHOUT_WIDGETS)
    cell = kernel.execute(submitted(gate) + "\nrun.view(tail_lines=10)")
    kernel.until(lambda: "began" in cell.html(), "the log is in the view")
    kernel.execute("flow.close()")
    kernel.until(lambda: "Not followed any more" in cell.html(), "the view says so")
    # What cannot be followed is shown as it was read.
    assert "PENDING" in kernel.execute("run").html()
    kernel.execute(opened(gate.parent) + "\nflow.runs.get(run.id).cancel()")


def test_the_end_of_the_kernel_ends_no_run_and_loses_no_line(kernel: Kernel, folder: Path, gate: Path) -> None:
    cell = kernel.execute(submitted(gate) + "\nprint(run.id)\nrun.view()")
    run = cell.text().strip()
    kernel.execute("for line in run.logs():\n    if line.text == 'began': break")
    kernel.kill_and_restart()
    kernel.execute(opened(folder))
    again = kernel.execute(f"run = flow.runs.get({run!r})\nrun")
    gate.touch()
    kernel.until(lambda: "SUCCESS" in again.html(), "the new view shows the end")
    shown = kernel.execute(f"flow.runs.get({run!r})")
    assert "SUCCESS" in shown.html() and shown.outputs[0]["kind"] == "execute_result"
    lines = kernel.execute("[line.text for line in run.logs() if line.stream == 'stdout']").result()
    expected = ["began", "::progress 40::half of it", "", *[f"line {number}" for number in range(200)], "done"]
    assert eval(lines) == expected


def test_both_faces_work_in_the_loop_of_the_kernel(kernel: Kernel, folder: Path, gate: Path) -> None:
    gate.touch()
    cell = kernel.execute(
        submitted(gate)
        + "\nimport asyncio\nassert asyncio.get_running_loop().is_running()\nrun.wait()"
        + "\nflow.close()"
        + f"\nasync with fastflow.open({str(folder / 'pipelines')!r}, data_dir={str(folder / 'data')!r}) as aflow:"
        + f"\n    arun = await aflow.run('gated', parameters={{'gate': {str(gate)!r}}})"
        + "\n    texts = [line.text async for line in arun.logs()]"
        + "\n    print((await arun.wait()).status, texts[-1], len([each async for each in aflow.runs.list()]))"
    )
    assert cell.text() == "SUCCESS done 2\n"


@pytest.mark.parametrize("call", ["run.wait()", "list(run.logs())", "list(run.usage())", "run.view().wait()"])
def test_an_interrupt_ends_a_blocking_call_at_once(kernel: Kernel, gate: Path, call: str) -> None:
    cell = kernel.start(
        submitted(gate)
        + "\nfor line in run.logs():\n    if line.text == 'began': break"
        + f"\nprint('blocks', flush=True)\n{call}"
    )
    kernel.until(lambda: "blocks" in cell.text(), "the call blocks")
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    kernel.finish(cell)
    assert (cell.error() or {})["ename"] == "KeyboardInterrupt"
    assert time.monotonic() - began < 2
    gate.touch()
    assert kernel.execute("run.wait().status.value").result() == "'SUCCESS'", "the run went on"


def test_lists_are_tables(kernel: Kernel, gate: Path) -> None:
    gate.touch()
    kernel.execute(submitted(gate, HOSTILE) + "\nrun.wait()")
    before = kernel.execute("list(flow.runs.list())")
    assert set(before.outputs[0]["data"]) == {"text/plain"}
    kernel.execute("%load_ext fastflow")
    for code in ("list(flow.runs.list())", "fastflow.notebook.table(flow.runs.list(limit=3))"):
        document = Document(kernel.execute(code).html())
        document.assert_harmless()
        assert SEEN_OF_HOSTILE in document.text and "table" in document.tags
    attempts = Document(kernel.execute("run.attempts()").html())
    assert "succeeded" in attempts.text
    for code in ("[1, 2]", "[]", "[run.id]"):
        assert set(kernel.execute(code).outputs[0]["data"]) == {"text/plain"}, code
    kernel.execute("%unload_ext fastflow")
    assert set(kernel.execute("run.attempts()").outputs[0]["data"]) == {"text/plain"}


def test_pipelines_are_html_and_a_table(kernel: Kernel, folder: Path) -> None:
    settings = json.dumps({"description": HOSTILE, "colour": "red"})
    (folder / "pipelines" / "hostile" / "pipeline.json").write_text(settings)
    kernel.execute("flow.source.sync()")
    for code in ("flow.pipelines.get('hostile')", "fastflow.notebook.table(flow.pipelines.list())"):
        document = Document(kernel.execute(code).html())
        document.assert_harmless()
        assert "hostile" in document.text and "pipeline.json" in document.text, code
    assert "gated" in document.text and "ready" in document.text


def test_importing_the_package_imports_nothing_of_notebooks() -> None:
    code = "import sys, fastflow; print([n for n in ('IPython', 'anywidget', 'fastflow.notebook') if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_an_exit_does_not_wait_for_what_is_viewed(folder: Path, gate: Path) -> None:
    code = opened(folder) + "\n" + submitted(gate) + "\nfrom fastflow.notebook import View"
    # What is registered before the view is called after it has ended: no thread of it meets the end of the interpreter.
    code += "\nimport atexit\nview = View(run)\natexit.register(lambda: print(view.is_live))"
    code += "\nfor line in run.logs():\n    if line.text == 'began': break"
    code += "\ntry:\n    view.wait(timeout=0.2)\nexcept TimeoutError:\n    print(view.is_live)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\nFalse\n", "")
    with fastflow.open(folder / "pipelines", data_dir=folder / "data") as flow:
        gate.touch()
        assert next(flow.runs.list()).wait(timeout=60).status is fastflow.Status.SUCCESS


LOUD = """
import sys
for number in range(5000):
    print("line", number)
print("x" * 3_000_000 + "the end of a long line")
for percent in range(101):
    print(f"\\r{percent:3}%|{'#' * percent}", end="")
print()
for number in range(40):
    print("ä" * 2000, number)
"""


def test_a_view_keeps_so_many_lines_and_bytes(folder: Path) -> None:
    (folder / "pipelines" / "loud.py").write_text(LOUD)
    with fastflow.open(folder / "pipelines", data_dir=folder / "data") as flow:
        run = flow.run("loud")
        view = notebook.view(run, tail_lines=50, tail_bytes=1024 * 1024)
        assert view.wait(timeout=60).status is fastflow.Status.SUCCESS
        tail = view._sight.tail
        texts = [text for _, text in tail.lines()]
        assert len(texts) == 50 and tail.is_cut
        assert texts[-1].endswith("ä 39") and all(len(text.encode()) <= MAX_LINE_BYTES for text in texts)
        long = next(text for text in texts if text.endswith("the end of a long line"))
        assert len(long) == MAX_LINE_BYTES
        assert texts[texts.index(long) + 1] == "100%|" + "#" * 100
        assert texts[texts.index(long) - 1] == "line 4999"
        assert tail.progress is not None and tail.progress.percent == 100
        small = notebook.view(run, tail_lines=50, tail_bytes=10_000)
        small.wait(timeout=60)
        assert sum(len(text.encode()) for _, text in small._sight.tail.lines()) <= 10_000
        assert len(small._sight.tail.lines()) == 2


@pytest.mark.parametrize("limit", [float("inf"), 1e12])
def test_a_view_may_be_waited_for_without_end(folder: Path, gate: Path, limit: float) -> None:
    with fastflow.open(folder / "pipelines", data_dir=folder / "data") as flow:
        view = notebook.view(flow.run("gated", parameters={"gate": str(gate)}))
        threading.Timer(0.1, gate.touch).start()
        assert view.wait(timeout=limit).status is fastflow.Status.SUCCESS


def test_a_curve_keeps_its_peak_and_its_length() -> None:
    curve = Curve()
    for value in range(10_000):
        curve.add(9.5 if value == 17 else (value % 7) / 7)
        assert len(curve.points) <= MAX_POINTS
    assert curve.points[0] == curve.peak == 9.5
    assert max(curve.points[1:]) < 1
