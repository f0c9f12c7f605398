"""Whether what is written in a file is what this process has loaded from it."""

from __future__ import annotations

import __future__
import ast
import inspect
import sys
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, cast

from ._remote.runner import kind_of

_FUTURE_FLAGS = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})
_LOADERS_OF_TEXT = ("_frozen_importlib", "_frozen_importlib_external")
_COMPARED = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_kwonlyargcount")


def is_function(function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> bool:
    """Whether a function is what the text of its file makes of this node of it."""
    if _is_rewritten(function.__module__):
        return True
    code = function.__code__
    found = _codes(text, code.co_filename, code.co_flags & _FUTURE_FLAGS).get((code.co_name, code.co_firstlineno))
    return found is not None and _same(found, code) and _same_defaults(function, node)


def is_class(kind: type, node: ast.ClassDef, file: str, text: str) -> bool:
    """Whether a class can be what the text of a file makes of this node of it: nothing of it says that it is not."""
    names: dict[str, Any] = dict(vars(kind))
    try:
        annotated = set(inspect.get_annotations(kind))
    except Exception:  # Annotations are evaluated late, and can raise anything then.
        annotated = None
    written = _written(node)
    for name, each in written.items():
        if name not in names and not (annotated is not None and name in annotated):
            return False
        value: Any = names.get(name)
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if _is_own(kind, each, value) and not (
                value.__code__.co_filename == file and is_function(value, each, text)
            ):
                return False
        elif name in names and not _can_be(each, value):
            return False
    return True


def _written(node: ast.ClassDef) -> dict[str, ast.AST | None]:
    """What stands in the body of a class for each of its names, the last of them; None for what has no value."""
    found: dict[str, ast.AST | None] = {}
    for each in node.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[each.name] = each
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            found[each.target.id] = each.value
        elif isinstance(each, ast.Assign) and len(each.targets) == 1 and isinstance(each.targets[0], ast.Name):
            found[each.targets[0].id] = each.value
        else:
            # Whatever a statement of another kind gives a value, it can be anything.
            for name in {at.id for at in ast.walk(each) if isinstance(at, ast.Name)}:
                found.pop(name, None)
    owner = node.name.lstrip("_")
    is_private = (name.startswith("__") and not name.endswith("__") and owner != "" for name in found)
    return {f"_{owner}{name}" if private else name: found[name] for name, private in zip(found, is_private, strict=True)}


def _is_own(kind: type, node: ast.FunctionDef | ast.AsyncFunctionDef, value: Any) -> bool:
    """Whether a method is as its class has it, and not what a decorator made of it."""
    return (
        isinstance(value, FunctionType)
        and value.__qualname__ == f"{kind.__qualname__}.{node.name}"
        and not node.decorator_list
        and not hasattr(value, "__wrapped__")
    )


def _can_be(node: ast.AST | None, value: Any) -> bool:
    """Whether a node that is a constant gives this one; what is none, or was made something else, can be anything."""
    if node is None or kind_of(value) not in (bool, int, float, str, bytes, tuple, list, dict, set, type(None)):
        return True
    try:
        return _same(ast.literal_eval(cast("ast.expr", node)), value)
    except (ValueError, TypeError):
        return True


def _is_rewritten(module: str) -> bool:
    """Whether a module was loaded by what changes its code, such as the assertions of tests."""
    loader = getattr(sys.modules.get(module), "__loader__", None)
    kind: type = loader if isinstance(loader, type) else type(loader)
    return loader is not None and kind.__module__ not in _LOADERS_OF_TEXT


@lru_cache(maxsize=32)
def _codes(text: str, file: str, flags: int) -> dict[tuple[str, int], CodeType]:
    try:
        # Cells of notebooks may await; functions are the same with it.
        module = compile(text, file, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError:
        return {}
    found: dict[tuple[str, int], CodeType] = {}
    left = [module]
    while left:
        code = left.pop()
        found[code.co_name, code.co_firstlineno] = code
        left.extend(each for each in code.co_consts if isinstance(each, CodeType))
    return found


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType):
        return all(getattr(one, name) == getattr(other, name) for name in _COMPARED) and _all_same(
            one.co_consts, other.co_consts
        )
    if isinstance(one, tuple):
        return _all_same(one, other)
    if isinstance(one, (set, frozenset, dict)):
        return bool(one == other)
    # In words, 0.0 and -0.0 differ, and what is no number is what it is.
    return repr(one) == repr(other)


def _all_same(some: Any, others: Any) -> bool:
    return len(some) == len(others) and all(map(_same, some, others))


def _same_defaults(function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.__defaults__ or ()
    by_name = function.__kwdefaults__ or {}
    names = {arg.arg: default for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)}
    written = {name: default for name, default in names.items() if default is not None}
    return (
        len(given) == len(node.args.defaults)
        and set(written) == set(by_name)
        and all(map(_can_be, node.args.defaults, given))
        and all(_can_be(default, by_name[name]) for name, default in written.items())
    )
