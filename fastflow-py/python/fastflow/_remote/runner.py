"""Calls one function, and writes down what became of it. This file is the ``main.py`` of a task.

It is executed by the Python of the sandbox, which is 3.8 or newer, and uses nothing but the standard library.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

MODULE = "fastflow_task"
DESCRIPTION_FILE = MODULE + ".json"
FUNCTION_FILE = MODULE + ".pickle"
ARGUMENTS_NAME = "TASK_ARGUMENTS"
ARGUMENTS_FILE = MODULE + "_arguments"
RESULT_FILE = MODULE + "_result.json"
PICKLED_FILE = MODULE + "_result.pickle"

FAILED_EXIT_CODE = 1
DEPTH_MAX = 200
INTEGER_BITS_MAX = 14_000
TRACEBACK_CHARS_MAX = 256 * 1024


class NotSendableError(Exception):
    """A value cannot cross."""


def kind_of(value: object) -> type[Any]:
    """The exact type of a value."""
    return type(value)


def check_json(value: Any, at: str, depth: int = 0) -> None:
    """Refuses what would not come out of JSON as it went in."""
    kind = kind_of(value)
    if value is None or kind is bool or kind is str:
        return
    if depth > DEPTH_MAX:
        raise NotSendableError(f"{at[:100]} is nested more than {DEPTH_MAX} deep, or holds itself")
    if kind is int:
        if value.bit_length() > INTEGER_BITS_MAX:
            raise NotSendableError(f"{at} is an integer of more than {INTEGER_BITS_MAX} bits")
    elif kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise NotSendableError(f"{at} is {value!r}, which JSON has no word for")
    elif kind is list:
        for index, item in enumerate(value):
            check_json(item, f"{at}[{index}]", depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise NotSendableError(f"{at} has the key {key!r:.100}, and JSON has no keys but str")
            check_json(item, f"{at}[{key!r:.100}]", depth + 1)
    else:
        raise NotSendableError(f"{at} is a {kind.__module__}.{kind.__qualname__}, and {_advice(kind)}")


def _advice(kind: Any) -> str:
    if issubclass(kind, tuple):
        return "JSON would bring back a list: give a list"
    for plain in (str, int, float, dict, list):
        if issubclass(kind, plain):
            return f"JSON would bring back a plain {plain.__name__}: give {plain.__name__}(...)"
    return "JSON carries None, bool, int, float, str, list and dict"


def to_json(value: Any) -> bytes:
    """As JSON; text that is no valid Unicode crosses, too."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


def encode_argument(value: Any, depth: int = 0) -> Any:
    """An argument of an exception, in a form that tells tuples and bytes apart."""
    if depth > 20:
        raise NotSendableError("too deep")
    kind = kind_of(value)
    if kind is bytes:
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if kind is tuple or kind is list:
        return {kind.__name__: [encode_argument(item, depth + 1) for item in value]}
    if kind is dict:
        raise NotSendableError("no dict")
    check_json(value, "it")
    return value


def decode_argument(value: Any, depth: int = 0) -> Any:
    """The argument again."""
    if depth > 20:
        raise NotSendableError("too deep")
    sent = kind_of(value)
    if sent is not dict:
        return value
    if "bytes" in value:
        return base64.b64decode(value["bytes"])
    kind: Any = tuple if "tuple" in value else list
    return kind(decode_argument(item, depth + 1) for item in value[kind.__name__])


def _write(folder: str, name: str, content: bytes) -> None:
    """Whoever sees the file sees all of it."""
    path = os.path.join(folder, name)
    with open(path + ".part", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)


def _read(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def _arguments(folder: str, pickled: bool) -> tuple[list[Any], dict[str, Any]]:
    # It is taken out of the environment, so that what the function starts does not find it there.
    text = os.environ.pop(ARGUMENTS_NAME, None)
    if pickled:
        import pickle

        content = base64.b64decode(text) if text is not None else _read(folder, ARGUMENTS_FILE)
        args, kwargs = pickle.loads(content)
        return args, kwargs
    call = json.loads(text if text is not None else _read(folder, ARGUMENTS_FILE))
    return call["args"], call["kwargs"]


def _function(folder: str, task: dict[str, Any]) -> Callable[..., Any]:
    if task["serializer"] == "json":
        found: Callable[..., Any] = getattr(importlib.import_module(MODULE), task["function"])
        return found
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if here != task["python"]:
        raise RuntimeError(
            f"this sandbox has Python {here}, and the function was pickled by Python {task['python']}: pickles of "
            "functions are for one version"
        )
    import pickle

    unpickled: Callable[..., Any] = pickle.loads(_read(folder, FUNCTION_FILE))
    return unpickled


def _pickled(value: Any) -> bytes:
    content: bytes = importlib.import_module("cloudpickle").dumps(value)
    return content


def _write_value(folder: str, task: dict[str, Any], value: Any) -> None:
    try:
        if task["serializer"] == "json":
            check_json(value, "the result")
            content = to_json(value)
        else:
            content = _pickled(value)
    except Exception as error:
        raise NotSendableError(f"the result cannot be sent back: {error}") from error
    if len(content) > task["max_result_bytes"]:
        raise NotSendableError(
            f"the result has {len(content)} bytes, and `max_result_bytes` is {task['max_result_bytes']}: return less, "
            "leave a file in the working directory, or allow more"
        )
    if task["serializer"] == "json":
        _write(folder, RESULT_FILE, b'{"kind": "value", "value": ' + content + b"}")
    else:
        _write(folder, PICKLED_FILE, content)
        _write(folder, RESULT_FILE, b'{"kind": "pickled"}')


def _exception_args(error: BaseException) -> list[Any] | None:
    try:
        reduced: Any = error.__reduce__()
        return [encode_argument(each) for each in reduced[1]]
    except Exception:
        return None


def _write_exception(folder: str, task: dict[str, Any], error: Exception, text: str) -> None:
    kind = type(error)
    try:
        message = str(error)
    except Exception:
        message = "<its message cannot be written>"
    found = {
        "kind": "exception",
        "module": kind.__module__,
        "type": kind.__qualname__,
        "args": _exception_args(error),
        "message": message[:TRACEBACK_CHARS_MAX],
        "traceback": text[-TRACEBACK_CHARS_MAX:],
        "pickled": False,
    }
    if task["serializer"] != "json":
        try:
            content = _pickled(error)
            if len(content) <= task["max_result_bytes"]:
                _write(folder, PICKLED_FILE, content)
                found["pickled"] = True
        except Exception:
            # What cannot be pickled crosses in words.
            pass
    if len(to_json(found["args"])) > TRACEBACK_CHARS_MAX:
        found["args"] = None
    _write(folder, RESULT_FILE, to_json(found))


def main() -> int:
    """Calls the function. The exit code says how it went."""
    folder = os.path.dirname(os.path.abspath(__file__))
    task = json.loads(_read(folder, DESCRIPTION_FILE))
    try:
        function = _function(folder, task)
        args, kwargs = _arguments(folder, task["serializer"] != "json")
        value = function(*args, **kwargs)
    except Exception as error:
        # The first frame is this function, which is of no interest to anybody.
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, trace))
        sys.stderr.write(text)
        _write_exception(folder, task, error, text)
        return FAILED_EXIT_CODE
    try:
        _write_value(folder, task, value)
    except NotSendableError as error:
        sys.stderr.write(f"{error}\n")
        _write(folder, RESULT_FILE, to_json({"kind": "refused", "message": str(error)}))
        return FAILED_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
