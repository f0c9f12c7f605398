"""What crosses with ``cloudpickle``, and what does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fastflow
import pytest

pytest.importorskip("cloudpickle")


class Custom(Exception):
    def __init__(self, first: int, second: tuple[int, ...]) -> None:
        super().__init__(first, second)
        self.second = second


class NotUnpickled(Custom):
    def __init__(self) -> None:
        super().__init__(1, ())


class Thing:
    def __init__(self, value: Any) -> None:
        self.value = value


def uses_the_module(thing: Thing) -> Any:
    if thing.value == "raise":
        raise Custom(1, (2, 3))
    if thing.value == "raise another":
        raise NotUnpickled
    return Thing((thing.value, {1}))


def test_closures_classes_and_exceptions_cross(flow: fastflow.Flow) -> None:
    captured = {1, 2}
    assert flow.task(serializer="cloudpickle")(lambda extra: captured | extra)({3}) == {1, 2, 3}
    task = flow.task(serializer="cloudpickle")(uses_the_module)
    found = task(Thing("x" * 20_000))
    assert found.value == ("x" * 20_000, {1})
    assert type(found) is Thing
    with pytest.raises(Custom) as caught:
        task(Thing("raise"))
    assert caught.value.second == (2, 3)
    assert isinstance(caught.value.__cause__, fastflow.RemoteTraceback)
    with pytest.raises(fastflow.TaskError, match="NotUnpickled"):
        task(Thing("raise another"))


def test_a_task_that_calls_itself_crosses(flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "down", flow.task(serializer="cloudpickle")(down))
    assert down(3) == [3, 2, 1]


def down(number: int) -> list[int]:
    return [number, *down(number - 1)] if number else []


def test_another_python_is_refused(flow: fastflow.Flow) -> None:
    other = f"3.{sys.version_info.minor + 1}"
    with pytest.raises(
        fastflow.UnsupportedError, match=f"one version of Python, and this is 3.{sys.version_info.minor}"
    ):
        flow.task(serializer="cloudpickle", python=other)(uses_the_module)


def test_what_cannot_be_pickled_is_refused(flow: fastflow.Flow, tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file, pytest.raises(fastflow.InvalidError, match="cannot be pickled"):
        flow.task(serializer="cloudpickle")(lambda: file)()


def test_without_the_package_it_says_what_to_do(flow: fastflow.Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(fastflow.UnsupportedError, match="needs the package `cloudpickle` here"):
        flow.task(serializer="cloudpickle")(uses_the_module)
