"""Functions run isolated: what goes there, what comes back, and what is said when it cannot."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import traceback
import unicodedata
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastflow
import pytest
from fastflow.runs import FailureKind
from programs import LIMIT_SECONDS, wait_until

FACTORS = {"two": 2, "pair": (3, {4})}
HERE = os.getpid()
NOT_A_NUMBER = float("nan")
UNSENDABLE = object()


@dataclass
class Point:
    x: int
    y: int = 0

    def total(self) -> int:
        return scaled(self.x) + self.y


class Base:
    def name(self) -> str:
        return type(self).__name__


class Derived(Base):
    pass


@functools.lru_cache
def cached(number: int) -> int:
    return number + len(FACTORS["pair"])  # type: ignore[arg-type]


def scaled(number: int) -> int:
    return number * FACTORS["two"]  # type: ignore[operator]


alias = scaled


def everything(x: int, *, note: str = "ä€😀") -> dict[str, Any]:
    # Comments and texts of several lines stay as they are.
    text = """
  indented
"""
    root = xml.etree.ElementTree.fromstring("<a><b/></a>")
    return {
        "point": Point(x, y=1).total(),
        "alias": alias(x),
        "cached": cached(x),
        "derived": Derived().name(),
        "floor": math.floor(2.5),
        "note": note,
        "text": text,
        "tag": root[0].tag,
        "isolated": os.getpid() != HERE,
        "nested": [(lambda item: item + x)(item) for item in range(2)],
    }


def factorial(number: int) -> int:
    return 1 if number <= 1 else number * factorial(number - 1)


def raises(kind: str) -> None:
    print("about to raise")
    if kind == "value":
        raise ValueError("ä", 1, ("two", b"\xff"))
    if kind == "file":
        open("/does/not/exist")
    if kind == "unicode":
        b"\xff".decode()
    if kind == "key":
        raise KeyError(("a", 1))
    if kind == "own":
        raise OwnError("mine")
    if kind == "unsendable":
        raise ValueError(UnprintableThing())
    raise AssertionError


class OwnError(Exception):
    pass


class UnprintableThing:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


def identity(value: Any) -> Any:
    return value


def twice(value: Any) -> Any:
    return value * 2


def test_a_value_comes_back_with_all_that_the_function_uses(flow: fastflow.Flow) -> None:
    task = flow.task(everything)
    there = task(3)
    here = task.local(3)
    assert there.pop("isolated") and not here.pop("isolated")
    assert there == here
    assert there["point"] == 7 and there["text"] == "\n  indented\n"


def test_the_decorated_function_calls_itself(flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "factorial", flow.task(memory="128m")(factorial))
    assert factorial(20) == math.factorial(20)


floor_task: Any = None


def uses_a_task(number: float) -> int:
    found: int = floor_task(number)
    return found


def test_a_task_that_another_uses_is_its_function_there(flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "floor_task", flow.task(math.floor))
    assert flow.task(uses_a_task)(2.5) == 2
    assert len(list(flow.runs.list())) == 1


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**70), 1.5, "", "a\0ä€😀\ud800", [], {"a": [{"": None}]}, [[[1]]], "x" * 100_000],
    ids=lambda value: f"{value!a:.20}",
)
def test_json_crosses_exactly(flow: fastflow.Flow, value: Any) -> None:
    found = flow.task(identity)(value)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "`value` is a builtins.tuple, and JSON would bring back a list"),
        ([{"a": {1}}], r"`value`\[0\]\['a'\] is a builtins.set"),
        (NOT_A_NUMBER, "`value` is nan"),
        ({1: 2}, "has the key 1"),
        (signal.SIGINT, "plain int"),
        (b"x", "builtins.bytes"),
        (10**5000, "integer of more than"),
    ],
    ids=["tuple", "set", "nan", "key", "enum", "bytes", "integer"],
)
def test_arguments_that_json_would_change_are_refused(flow: fastflow.Flow, value: Any, message: str) -> None:
    with pytest.raises(fastflow.InvalidError, match=message):
        flow.task(identity)(value)
    assert list(flow.runs.list()) == []


def test_a_value_that_holds_itself_is_refused(flow: fastflow.Flow) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(fastflow.InvalidError, match="or holds itself"):
        flow.task(identity)(endless)


def test_arguments_that_do_not_fit_the_function_are_refused_here(flow: fastflow.Flow) -> None:
    with pytest.raises(TypeError, match=r"identity\(\): missing a required argument: 'value'"):
        flow.task(identity)()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert list(flow.runs.list()) == []


def test_large_arguments_and_results_cross_and_too_large_ones_are_refused(flow: fastflow.Flow) -> None:
    large = "x" * (8 << 20)
    assert flow.task(max_result_bytes=16 << 20)(twice)(large[: 4 << 20]) == large
    with pytest.raises(fastflow.InvalidError, match="at most 16777216 are sent"):
        flow.task(identity)("x" * (17 << 20))
    with pytest.raises(fastflow.TaskError, match="the result has 2002 bytes, and `max_result_bytes` is 2001"):
        flow.task(max_result_bytes=2001)(twice)("x" * 1000)
    assert len(flow.task(max_result_bytes=2002)(twice)("x" * 1000)) == 2000


def returns_a_set() -> Any:
    return {"a": {1}}


def test_a_result_that_json_would_change_is_refused(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.TaskError, match=r"the result\['a'\] is a builtins.set") as caught:
        flow.task(returns_a_set)()
    assert caught.value.run.status is fastflow.Status.FAILED


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("value", ValueError("ä", 1, ("two", b"\xff"))),
        ("file", FileNotFoundError(2, "No such file or directory", "/does/not/exist")),
        ("unicode", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")),
        ("key", KeyError(("a", 1))),
    ],
)
def test_exceptions_of_builtin_types_come_back(flow: fastflow.Flow, kind: str, expected: Exception) -> None:
    call = flow.task(raises).submit(kind)
    with pytest.raises(type(expected)) as caught:
        call.result()
    assert type(caught.value) is type(expected)
    assert (caught.value.args, str(caught.value)) == (expected.args, str(expected))
    cause = caught.value.__cause__
    assert isinstance(cause, fastflow.RemoteTraceback)
    assert "in raises" in cause.text and "runner" not in cause.text and "in main" not in cause.text
    lines = [line.text for line in call.logs()]
    assert "about to raise" in lines and any("in raises" in line for line in lines)
    assert call.exception() is caught.value


def test_other_exceptions_come_back_in_words(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.TaskError, match=r"fastflow_task\.OwnError: mine") as caught:
        flow.task(raises)("own")
    error = caught.value
    assert error.type_name == "fastflow_task.OwnError" and "in raises" in error.remote_traceback
    assert error.failure is not None and error.failure.kind is FailureKind.EXIT_CODE
    with pytest.raises(fastflow.TaskError, match="its message cannot be written"):
        flow.task(raises)("unsendable")


def raises_what_moves_a_cursor() -> None:
    raise type("Red\x1b[31m", (Exception,), {})("a\tb\nc\r\x1b]0;title\x07\x9b31m")


def test_nothing_that_a_terminal_acts_on_is_printed(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.TaskError) as caught:
        flow.task(raises_what_moves_a_cursor)()
    error = caught.value
    printed = "".join(traceback.format_exception(error))
    assert "Red\\x1b[31m: a\tb\nc\\r\\x1b]0;title\\x07\\x9b31m" in str(error)
    assert not {each for each in printed if each not in "\t\n" and unicodedata.category(each) == "Cc"}
    assert "\x1b]0;title\x07" in error.remote_traceback, "which is data"


def exits(code: int) -> None:
    sys.exit(code)


def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def writes_a_result_and_dies(kind: str) -> None:
    name = "fastflow_task_result.json"
    if kind == "link":
        Path("another.json").write_text('{"kind": "value", "value": "of a file that could be any of the host"}')
        os.symlink("another.json", name)
    elif kind == "pipe":
        os.mkfifo(name)
    elif kind == "folder":
        os.mkdir(name)
    elif kind == "endless":
        with open(name, "wb") as file:
            file.truncate(1 << 40)
    else:
        Path(name).write_text(kind)
    os._exit(0)


def waits_for_ever(path: str) -> None:
    Path(path).touch()
    signal.pause()


def test_a_program_that_ends_otherwise_is_told_with_its_run(flow: fastflow.Flow, tmp_path: Path) -> None:
    with pytest.raises(fastflow.TaskError, match="without a result"):
        flow.task(exits)(0)
    with pytest.raises(fastflow.RunFailedError, match="3") as caught:
        flow.task(exits)(3)
    assert caught.value.failure is not None and caught.value.failure.exit_code == 3
    with pytest.raises(fastflow.RunFailedError) as caught:
        flow.task(kills_itself)()
    assert caught.value.failure is not None and caught.value.failure.signal == signal.SIGKILL
    with pytest.raises(fastflow.RunFailedError) as caught:
        flow.task(time_limit=1)(waits_for_ever)(str(tmp_path / "begun"))
    assert caught.value.failure is not None and caught.value.failure.kind is FailureKind.TIMED_OUT
    assert caught.value.run.status is fastflow.Status.FAILED


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("link", "cannot be read"),
        ("pipe", "is no file"),
        ("folder", "is no file"),
        ("endless", "more than"),
        ("[" * 100_000, "cannot be read"),
        ('{"kind": "value", "value": NaN}', "cannot be read"),
        ('{"kind": "value", "value": [-1e999]}', "the number -1e999 is out of range"),
        ("[]", "that is none"),
        ('{"kind": "pickled"}', "that is none"),
    ],
    ids=["link", "pipe", "folder", "endless", "nested", "nan", "infinite", "list", "pickled"],
)
def test_what_a_program_leaves_in_the_place_of_a_result_is_not_trusted(
    flow: fastflow.Flow, kind: str, message: str
) -> None:
    with pytest.raises(fastflow.TaskError, match=message):
        flow.task(writes_a_result_and_dies)(kind)


def test_a_call_is_waited_for_and_cancelled(flow: fastflow.Flow, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    call = flow.task(waits_for_ever).submit(str(begun))
    wait_until(begun.exists, "the function has begun")
    assert not call.done()
    with pytest.raises(fastflow.TimedOutError):
        call.result(timeout=0.05)
    assert call.cancel()
    with pytest.raises(fastflow.RunFailedError, match="cancelled") as caught:
        call.result(timeout=LIMIT_SECONDS)
    assert caught.value.failure is None and caught.value.run.status is fastflow.Status.CANCELLED
    assert call.done() and not call.cancel()


def fails_first(folder: str) -> str:
    attempt = os.environ["FASTFLOW_ATTEMPT"]
    Path(folder, attempt).touch()
    if attempt == "1":
        Path("fastflow_task_result.json").write_text('{"kind": "value", "value": "of the first attempt"}')
        os._exit(1)
    if attempt == "2":
        raise ValueError("of the second attempt")
    return "of the third attempt"


def test_the_result_is_that_of_the_newest_attempt(flow: fastflow.Flow, tmp_path: Path) -> None:
    task = flow.task(retries=2, retry_delay=0)(fails_first)
    assert task(str(tmp_path)) == "of the third attempt"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in "123") == ["1", "2", "3"]
    with pytest.raises(ValueError, match="of the second attempt"):
        task.with_options(retries=1)(str(tmp_path))
    with pytest.raises(fastflow.TaskError):
        task.with_options(retries=0)(str(tmp_path))


def closure(flow: fastflow.Flow) -> Any:
    captured = 3

    def inside() -> int:
        return captured

    return flow.task(inside)


def test_closures_lambdas_and_others_are_refused_when_they_are_made_tasks(flow: fastflow.Flow) -> None:
    async def coroutine() -> None: ...

    def generator() -> Any:
        yield

    with pytest.raises(fastflow.InvalidError, match="uses `captured` of the function around it"):
        closure(flow)
    with pytest.raises(fastflow.InvalidError, match="lambda"):
        flow.task(lambda: None)
    with pytest.raises(fastflow.InvalidError, match="method"):
        flow.task(Point.total)
    with pytest.raises(fastflow.InvalidError, match="coroutine function"):
        flow.task(coroutine)
    with pytest.raises(fastflow.InvalidError, match="generator function"):
        flow.task(generator)
    with pytest.raises(fastflow.InvalidError, match="no plain function"):
        flow.task(functools.partial(identity, 1))
    with pytest.raises(TypeError, match="unknown option 'memmory'"):
        flow.task(memmory="1g")(identity)  # type: ignore[call-overload]  # pyright: ignore


def uses_unsendable() -> Any:
    return UNSENDABLE


def uses_not_a_number() -> Any:
    return NOT_A_NUMBER


def uses_undefined() -> Any:
    return nowhere  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore


def uses_module_of_ours() -> Any:
    return wait_until


def assigns_global() -> None:
    global HERE
    HERE = 1


def through_a_helper() -> Any:
    return uses_unsendable()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (uses_unsendable, "`uses_unsendable` uses `UNSENDABLE`, which is a builtins.object"),
        (through_a_helper, "`uses_unsendable` uses `UNSENDABLE`"),
        (uses_not_a_number, "`NOT_A_NUMBER`, which is a builtins.float"),
        (uses_undefined, "uses `nowhere`, which is not defined"),
        (uses_module_of_ours, "`wait_until` of the module `programs`"),
        (assigns_global, "`assigns_global` assigns the global `HERE`"),
    ],
)
def test_what_cannot_cross_is_named(flow: fastflow.Flow, function: Any, message: str) -> None:
    with pytest.raises(fastflow.InvalidError, match=message):
        flow.task(function)()
    assert list(flow.runs.list()) == []


def test_functions_inside_functions_and_of_the_standard_library(flow: fastflow.Flow) -> None:
    def inside(number: int) -> list[int]:
        text = """one
    two"""
        return [scaled(number), len(text)]

    assert flow.task(inside)(4) == [8, 11]
    assert flow.task(math.hypot)(3, 4) == 5.0
    assert flow.task(json.dumps)({"a": 1}) == '{"a": 1}'


def square_or_fail(number: int) -> int:
    if number == 5:
        raise ValueError("five")
    return number * number


def test_map_keeps_the_order_and_never_has_more_in_flight_than_it_may(flow: fastflow.Flow) -> None:
    most = 0

    def numbers() -> Any:
        nonlocal most
        for number in range(200):
            waiting = [*flow.runs.list(status=[fastflow.Status.PENDING, fastflow.Status.RUNNING])]
            most = max(most, len(waiting))
            yield number

    task = flow.task(twice)
    assert list(task.map(numbers(), max_in_flight=12)) == [2 * number for number in range(200)]
    assert 0 < most <= 12


def test_map_gives_exceptions_in_place_or_stops_and_cancels(flow: fastflow.Flow) -> None:
    task = flow.task(square_or_fail)
    found = list(task.map(range(8), return_exceptions=True))
    assert isinstance(found[5], ValueError)
    assert found[:5] + found[6:] == [0, 1, 4, 9, 16, 36, 49]
    results = task.map([1, 5, 2], max_in_flight=1)
    assert next(results) == 1
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert flow.task(math.pow).map([2, 3], [3, 2]).__next__() == 8.0


def test_what_map_cannot_do_is_refused_before_anything_runs(flow: fastflow.Flow) -> None:
    with pytest.raises(fastflow.InvalidError, match="`max_in_flight` is a whole number from 1"):
        flow.task(twice).map([1], max_in_flight=0)
    with pytest.raises(fastflow.InvalidError, match="a key is of one submission"):
        flow.task(twice).with_options(key="one").map([1])
    assert list(flow.runs.list()) == []


def test_a_key_names_one_call(flow: fastflow.Flow) -> None:
    task = flow.task(twice).with_options(key="once")
    first = task.submit(2)
    again = task.submit(2)
    assert (first.id, again.id, again.result()) == (first.id, first.id, 4)


def test_who_stops_taking_results_cancels_the_rest(flow: fastflow.Flow, tmp_path: Path) -> None:
    begun = [tmp_path / f"begun-{number}" for number in range(3)]
    results = flow.task(begins).map([""] + [str(path) for path in begun], max_in_flight=4)
    assert next(results) is None
    wait_until(lambda: all(path.exists() for path in begun), "all have begun")
    results.close()  # type: ignore[attr-defined]  # pyright: ignore
    statuses = [run.wait(timeout=LIMIT_SECONDS).status for run in flow.runs.list()]
    assert sorted(statuses) == [fastflow.Status.CANCELLED] * 3 + [fastflow.Status.SUCCESS]


def begins(path: str) -> None:
    if path:
        waits_for_ever(path)


def test_an_interrupt_while_waiting_cancels_the_run(flow: fastflow.Flow, tmp_path: Path) -> None:
    import threading

    begun = tmp_path / "begun"

    def interrupt() -> None:
        wait_until(begun.exists, "the function has begun")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        flow.task(waits_for_ever)(str(begun))
    thread.join()
    (run,) = flow.runs.list()
    assert run.wait(timeout=LIMIT_SECONDS).status is fastflow.Status.CANCELLED


async def test_the_async_face(pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        task = flow.task(memory="128m")(square_or_fail)
        assert await task(3) == 9
        assert task.local(3) == 9
        with pytest.raises(ValueError, match="five"):
            await task(5)
        call = await task.submit(4)
        assert (await call, await call.result(), await call.exception(), await call.done()) == (16, 16, None, True)
        assert [number async for number in task.map(range(5), max_in_flight=2)] == [0, 1, 4, 9, 16]
        found = [each async for each in task.map([4, 5], return_exceptions=True)]
        assert found[0] == 16 and isinstance(found[1], ValueError)

        begun = tmp_path / "begun"
        waiting = asyncio.ensure_future(flow.task(waits_for_ever)(str(begun)))
        while not begun.exists():
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        (run,) = [run async for run in flow.runs.list(limit=1)]
        assert (await run.wait(timeout=LIMIT_SECONDS)).status is fastflow.Status.CANCELLED


def test_a_script_is_a_module_like_any_other(pipelines: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import fastflow

        flow = fastflow.open({str(pipelines)!r}, data_dir={str(tmp_path / "data")!r}).start()
        SCALE = 3

        def helper(x):
            return x * SCALE

        @flow.task(memory="128m")
        def f(x: int) -> int:
            return helper(x) if x else other(1)

        @flow.task
        def other(x):
            return x + 100

        print(f(2), f(0))
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("6 101\n", "")


def test_a_file_that_changed_since_it_was_loaded_is_not_sent(
    flow: fastflow.Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "changes_meanwhile", raising=False)
    file = tmp_path / "changes_meanwhile.py"
    file.write_text("def f():\n    return 1\n")
    module = importlib.import_module("changes_meanwhile")
    assert flow.task(module.f)() == 1
    file.write_text("# a new first line\ndef f():\n    return 2\n")
    with pytest.raises(fastflow.InvalidError, match="has changed since `f` was loaded"):
        flow.task(module.f)()


@pytest.mark.parametrize(
    "edited",
    [
        "def f(x=1):\n    return x + 200\ndef g():\n    return f()\n",
        "def f(x=2):\n    return x + 100\ndef g():\n    return f()\n",
        "def f(x=1):\n    return [y + 1 for y in [x + 100]][0]\ndef g():\n    return f()\n",
    ],
    ids=["constant", "default", "body"],
)
def test_a_file_that_was_edited_on_the_same_line_is_not_sent(
    flow: fastflow.Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    import importlib
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "edited_on_the_line.py"
    kind = "class K:\n    word = {word!r}\n    def m(self):\n        return self.word\ndef k():\n    return K().m()\n"
    file.write_text("def f(x=1):\n    return x + 100\ndef g():\n    return f()\n" + kind.format(word="old"))
    monkeypatch.delitem(sys.modules, "edited_on_the_line", raising=False)
    module = importlib.import_module("edited_on_the_line")
    assert (flow.task(module.g)(), flow.task(module.k)()) == (101, "old")
    file.write_text(edited + kind.format(word="new"))
    for function in (module.f, module.g, module.k):
        with pytest.raises(fastflow.InvalidError, match="has changed since `[fK]` was loaded"):
            flow.task(function)()


def test_code_without_source_is_refused(flow: fastflow.Flow) -> None:
    names: dict[str, Any] = {}
    exec("def f():\n    return 1\n", names)
    with pytest.raises(fastflow.InvalidError, match="the source of `f` is not to be found"):
        flow.task(names["f"])()


def test_cells_of_a_notebook(pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [
        f"import fastflow, math\nflow = fastflow.open({str(pipelines)!r}, data_dir={str(data_dir)!r}).start()",
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\nSCALE = 2",
        "def helper(p):\n    return math.floor(p.x * SCALE)",
        "@flow.task\ndef f(x: int) -> int:\n    return helper(Point(x))\nprint(f(4))",
        "def helper(p):\n    return -p.x\nprint(f(4))",
        "flow.close()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    assert outputs[3:5] == ["8\n", "-4\n"]


def test_a_class_of_a_cell_is_that_of_this_notebook(pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "a_library.py").write_text("class Point:\n    y = 'of a library'\ndef f():\n    return 1 / 0\n")
    task = "try:\n    print(flow.task(f)())\nexcept fastflow.InvalidError as error:\n    print(error)"
    cells = [
        f"import fastflow, sys\nflow = fastflow.open({str(pipelines)!r}, data_dir={str(data_dir)!r}).start()",
        "class Point:\n    y = 'of a cell'\ndef f():\n    return Point.y",
        f"sys.path.insert(0, {str(folder)!r})\nimport a_library, linecache\nlinecache.getlines(a_library.__file__)[:0]",
        task,
        "class Point:\n    y = 'edited'",
        task,
        "raise_first = 0\ntry:\n    1 / 0\n    pass\nfinally:\n    pass\nclass Point:\n    y = 'never defined'",
        task,
        "exec(\"class Point:\\n    z = 'of exec'\")",
        task,
        "class Point:\n    y = str(1)",
        "class Point:\n    y = str(object)",
        task,
        "flow.close()",
    ]
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    made[6].metadata["tags"] = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=made)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    assert [said[at] for at in (3, 5, 7)] == ["of a cell\n", "edited\n", "edited\n"]
    assert "the source of `Point` is not to be found" in said[9]
    assert "several cells of this notebook define a class `Point`" in said[12]


def says_default(x: Any = None) -> Any:
    return x


called_otherwise = says_default


def defaults_to_an_alias(x: Any = called_otherwise) -> Any:
    return x(4)


def test_an_alias_is_there_before_what_needs_it(flow: fastflow.Flow) -> None:
    assert flow.task(defaults_to_an_alias)() == 4


def raises_of_iterators(kind: str) -> None:
    raise {"sync": StopIteration, "async": StopAsyncIteration}[kind]("three")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_exceptions_of_iterators_cross_in_words(pipelines: Path, data_dir: Path, kind: str) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        with pytest.raises(fastflow.TaskError, match=r"Stop(Async)?Iteration: three"):
            await flow.task(raises_of_iterators)(kind)
        found = [each async for each in flow.task(raises_of_iterators).map([kind], return_exceptions=True)]
        assert isinstance(found[0], fastflow.TaskError)


def test_options_that_are_nothing_are_refused(flow: fastflow.Flow) -> None:
    task = flow.task(twice)
    with pytest.raises(fastflow.InvalidError, match="`max_result_bytes` is a whole number from 1"):
        task.with_options(max_result_bytes=0)
    with pytest.raises(fastflow.InvalidError, match="'' is no serializer"):
        task.with_options(serializer="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_arguments_do_not_show_wherever_a_run_is_shown(flow: fastflow.Flow) -> None:
    from fastflow.notebook._tables import runs_table

    call = flow.task(identity).submit("hunter2")
    run = call.run
    assert "hunter2" in run.parameters["TASK_ARGUMENTS"]
    for shown in (repr(run), str(run), repr(call), run._repr_html_(), str(runs_table([run])), f"{run.parameters}"):
        assert "hunter2" not in shown and "TASK_ARGUMENTS" not in shown
    assert call.result() == "hunter2"
    plain = flow.run("hello", parameters={"who": "you"})
    assert "'who': 'you'" in repr(plain) and "who=you" in plain._repr_html_()


def test_installed_packages_of_all_kinds_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from fastflow._source import is_there

    for folder, package in (
        ("env/site-packages", "kept_namespace"),
        ("user/dist-packages", "kept_by_the_system"),
        ("work", "lies_around"),
    ):
        at = tmp_path / folder / package
        at.mkdir(parents=True)
        (at / "part.py").touch()
        (at.parent / f"{package}_single.py").touch()
        monkeypatch.syspath_prepend(str(at.parent))
    found = {}
    for name in ("kept_namespace", "kept_by_the_system", "lies_around"):
        for module in (f"{name}.part", f"{name}_single"):
            importlib.import_module(module)
            found[module] = is_there(module)
        found[name] = is_there(name)
    assert found == {name: "kept" in name for name in found}
    assert is_there("os.path") and is_there("pytest") and not is_there("programs") and not is_there("nowhere_at_all")


def looks_around(outside: str) -> dict[str, Any]:
    Path("left.txt").write_text("by the function")
    return {"user": os.getuid(), "sees": os.path.exists(outside), "name": "ä€😀"}


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_in_a_container(kind: str, pipelines: Path, data_dir: Path, tmp_path: Path) -> None:
    host, image = os.environ.get(f"FASTFLOW_TEST_{kind.upper()}"), os.environ.get("FASTFLOW_TEST_IMAGE")
    if host is None or image is None:
        pytest.skip(
            f"FASTFLOW_TEST_{kind.upper()} and FASTFLOW_TEST_IMAGE, which tools/setup-engines prints, are not set"
        )
    make = fastflow.Docker if kind == "docker" else fastflow.Podman
    container = make(image=image, host=host, pull="never", user=(1234, 1234), network=f"fastflow-py-{os.getpid()}")
    with fastflow.open(pipelines, data_dir=data_dir, executors=["process", container]) as flow:
        outside = tmp_path / "outside.txt"
        outside.touch()
        task = flow.task(executor=kind, memory="256m")(looks_around)
        call = task.submit(str(outside))
        assert call.result() == {"user": 1234, "sees": False, "name": "ä€😀"}
        assert (call.run.directory() / "work" / "left.txt").read_text() == "by the function"
        with pytest.raises(FileNotFoundError) as caught:
            flow.task(executor=kind)(raises)("file")
        assert "in raises" in str(caught.value.__cause__)
        with pytest.raises(fastflow.TaskError, match="cannot be read"):
            flow.task(executor=kind)(writes_a_result_and_dies)("link")
        with pytest.raises(fastflow.RunFailedError) as failed:
            flow.task(executor=kind, memory="64m")(takes_memory)()
        assert failed.value.failure is not None and failed.value.failure.kind is FailureKind.OUT_OF_MEMORY
        assert task.with_options(executor="process")(str(outside))["sees"]


def takes_memory() -> int:
    return len(bytearray(1 << 30).replace(b"\0", b"1"))
