"""The API as a whole: two faces with the same names, a docstring for everything, and a timeout wherever one waits."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import fastflow
import pytest

def classes() -> dict[str, type]:
    found = {name: getattr(fastflow, name) for name in fastflow.__all__}
    return {name: value for name, value in found.items() if inspect.isclass(value)}


def pairs() -> list[str]:
    """The names of the classes that have two faces."""
    names = classes()
    return sorted(name for name in names if f"Async{name}" in names)


def members(of: type) -> dict[str, Any]:
    """What a class offers, by name."""
    return {name: value for name, value in inspect.getmembers(of) if not name.startswith("_")}


def sync_members() -> list[tuple[str, str]]:
    return [(name, member) for name in pairs() for member in members(classes()[name])]


# What makes something of a function asks nobody, and so nobody waits.
MAKERS = [("Flow", "task"), ("Task", "with_options")]
# The keywords of these are those of a function, or they are as they are in `concurrent.futures`.
OTHER_TIMEOUTS = [("Task", "submit"), ("TaskRun", "result"), ("TaskRun", "exception")]


def in_words(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def awaited(annotation: str) -> str:
    """What the asyncio face gives, where the other gives this."""
    for name in pairs():
        annotation = re.sub(rf"(?<![\w.]){name}\b", f"Async{name}", annotation)
    return re.sub(r"(?<![\w.])Iterator\b", "AsyncIterator", annotation)


def test_the_faces_come_in_pairs() -> None:
    assert {"Flow", "Run", "Runs", "Pipelines", "Schedules", "Packages"} <= set(pairs())
    lonely = [name for name in classes() if name.startswith("Async") and name.removeprefix("Async") not in pairs()]
    assert lonely == []


@pytest.mark.parametrize("name", pairs())
def test_both_faces_have_the_same_members(name: str) -> None:
    assert sorted(members(classes()[name])) == sorted(members(classes()[f"Async{name}"]))


@pytest.mark.parametrize(("name", "member"), sync_members())
def test_a_member_has_its_twin(name: str, member: str) -> None:
    one, other = members(classes()[name])[member], members(classes()[f"Async{name}"])[member]
    if not inspect.isfunction(one):
        assert type(one) is type(other)
        return
    ours, theirs = inspect.signature(one), inspect.signature(other)
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    if one is other:
        return  # It asks nobody, and so nobody waits.
    if (name, member) in MAKERS:
        return
    given = in_words(ours.return_annotation)
    assert in_words(theirs.return_annotation) == awaited(given)
    is_stream = given.startswith("Iterator[")
    assert inspect.iscoroutinefunction(other) != is_stream, "a stream is iterated over, anything else is awaited"


@pytest.mark.parametrize(("name", "member"), sync_members())
def test_who_waits_can_say_how_long(name: str, member: str) -> None:
    one, other = members(classes()[name])[member], members(classes()[f"Async{name}"])[member]
    if not inspect.isfunction(one) or one is other or (name, member) in MAKERS:
        return
    if (name, member) in OTHER_TIMEOUTS:
        return
    timeout = inspect.signature(one).parameters.get("timeout")
    assert timeout is not None, "it talks to the native side"
    assert timeout.kind is inspect.Parameter.KEYWORD_ONLY
    assert timeout.default is None


def of_the_language(of: type, member: str) -> bool:
    """Whether a member is one of a class of Python's own, such as those of exceptions and of texts."""
    owner = next(owner for owner in of.__mro__ if member in vars(owner))
    return owner.__module__ in ("builtins", "enum")


def documented() -> list[tuple[str, Any]]:
    """Every public name with what it stands for, the methods and properties of classes included."""
    found: list[tuple[str, Any]] = []
    for name in fastflow.__all__:
        value = getattr(fastflow, name)
        if name.startswith("__"):
            continue
        found.append((name, value))
        if inspect.isclass(value):
            own = {member: thing for member, thing in members(value).items() if not of_the_language(value, member)}
            # Fields and choices have no docstring of their own: the test of fields looks at what stands below them.
            shown = {member: thing for member, thing in own.items() if callable(thing) or is_property(thing)}
            found += [(f"{name}.{member}", thing) for member, thing in shown.items()]
    return found


def is_property(thing: Any) -> bool:
    return isinstance(thing, property) or inspect.isgetsetdescriptor(thing)


@pytest.mark.parametrize(("name", "value"), documented(), ids=lambda value: value if isinstance(value, str) else "")
def test_everything_public_is_documented(name: str, value: Any) -> None:
    doc = (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) or ""
    made_up = doc.startswith(f"{name}(") or doc == "An enumeration."
    assert doc.strip() and not made_up


@pytest.mark.parametrize("name", sorted(name for name, value in classes().items() if dataclasses.is_dataclass(value)))
def test_every_field_is_documented(name: str) -> None:
    source = inspect.getsource(classes()[name])
    for field in dataclasses.fields(classes()[name]):
        if field.name in classes()[name].__annotations__:
            assert re.search(rf'^    {field.name}: .*\n    """', source, re.MULTILINE), f"{name}.{field.name}"


@pytest.mark.parametrize("name", sorted(name for name, value in classes().items() if dataclasses.is_dataclass(value)))
def test_results_are_frozen(name: str) -> None:
    parameters = classes()[name].__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen and "__slots__" in vars(classes()[name])


def test_streams_are_for_both_loops(flow: fastflow.Flow) -> None:
    stream = flow.events()
    assert isinstance(stream, Iterator)
    assert isinstance(stream, AsyncIterator)
