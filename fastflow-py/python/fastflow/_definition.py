"""Where functions and classes are written down, and which names they use."""

from __future__ import annotations

import ast
import copy
import linecache
import symtable
import sys
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import Any

from . import _as_loaded
from .errors import InvalidError

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A function or a class, as it is written."""

    file: str
    line: int
    text: str
    decorators: int
    """How many decorators it has; they are no part of the text where they were not asked for."""
    needs: frozenset[str]
    """Names of its module without which it does not work."""
    mentions: frozenset[str]
    """Names of its module that are in annotations only."""


def of_function(function: FunctionType, *, decorated: bool) -> Definition:
    """The definition of a function, with its decorators or without."""
    file = function.__code__.co_filename
    tree, lines = _parsed(file, function.__globals__, function.__name__)
    line = function.__code__.co_firstlineno
    for node in ast.walk(tree):
        if isinstance(node, _Function) and node.name == function.__name__ and _first_line(node) == line:
            if _as_loaded.is_function(function, node, "".join(lines)):
                return _definition(file, node, lines, decorated=decorated)
    raise _changed(function.__name__, file)


def of_class(kind: type) -> Definition:
    """The definition of a class of a module, with its decorators."""
    module = sys.modules.get(kind.__module__)
    module_file = getattr(module, "__file__", None)
    files = _files(kind, module_file)
    found: dict[str, Definition] = {}
    for file in files:
        tree, lines = _parsed(file, vars(module) if module else {}, kind.__name__)
        nodes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
        for node in nodes[-1:]:
            if _as_loaded.is_class(kind, node, file, "".join(lines)):
                found[ast.dump(node)] = _definition(file, node, lines, decorated=True)
            elif file == module_file:
                raise _changed(kind.__name__, file)
    if not found:
        raise _no_source(kind.__name__, kind.__module__)
    if len(found) > 1:
        raise InvalidError(
            f"several cells of this notebook define a class `{kind.__name__}`, and which of them made this one is not "
            "to be told: give it another name, or restart the kernel"
        )
    return next(iter(found.values()))


def _changed(name: str, file: str) -> InvalidError:
    return InvalidError(f"{file} has changed since `{name}` was loaded from it; load it again")


def _files(kind: type, module_file: str | None) -> list[str]:
    """Files that may define a class; in a notebook, cells know of their functions only."""
    functions = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
    # What a decorator has made of a method, or added to it, is of the file of the decorator.
    own = [
        each.__code__.co_filename
        for each in functions
        if each.__qualname__ == f"{kind.__qualname__}.{each.__code__.co_name}" and not hasattr(each, "__wrapped__")
    ]
    files = [file for file in dict.fromkeys(own) if linecache.getlines(file)]
    if files:
        return files
    return _cells() if module_file is None else [module_file]


def _cells() -> list[str]:
    """The cells of this kernel, which ``linecache`` knows as files, among those of libraries."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    numbers: dict[str, int] = getattr(getattr(shell, "compile", None), "_filename_map", {})
    functions = [each for each in vars(sys.modules["__main__"]).values() if isinstance(each, FunctionType)]
    own = [each.__code__.co_filename for each in functions if each.__module__ == "__main__"]
    return [file for file in dict.fromkeys([*numbers, *own]) if file in linecache.cache]


def _no_source(name: str, file: str) -> InvalidError:
    return InvalidError(
        f"the source of `{name}` is not to be found in {file}: what is typed at a prompt, given to `python -c` or made "
        'by `exec` has none; write it in a file or a notebook, or use serializer="cloudpickle"'
    )


@lru_cache(maxsize=32)
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def _parsed(file: str, names: dict[str, Any], name: str) -> tuple[ast.Module, list[str]]:
    linecache.checkcache(file)
    lines = linecache.getlines(file, names)
    if not lines:
        raise _no_source(name, file)
    try:
        return _tree("".join(lines)), lines
    except SyntaxError as error:
        raise _changed(name, file) from error


def _first_line(node: _Function | ast.ClassDef) -> int:
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _definition(file: str, node: _Function | ast.ClassDef, lines: list[str], *, decorated: bool) -> Definition:
    decorators = len(node.decorator_list)
    if not decorated:
        node = copy.deepcopy(node)
        node.decorator_list = []
    if node.col_offset == 0:
        text = "".join(lines[_first_line(node) - 1 : node.end_lineno])
    else:
        # Inside of another function: taking the indentation off would change texts of several lines.
        text = ast.unparse(node)
    needs = _needed(node)
    return Definition(
        file=file,
        line=_first_line(node),
        text=text if text.endswith("\n") else f"{text}\n",
        decorators=decorators,
        needs=frozenset(needs),
        mentions=frozenset(_annotated(node) - needs),
    )


class _Unannotated(ast.NodeTransformer):
    """Takes annotations away: they are not evaluated there."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)


def _needed(node: _Function | ast.ClassDef) -> set[str]:
    plain = _Unannotated().visit(copy.deepcopy(node))
    table = symtable.symtable(ast.unparse(plain), "<task>", "exec")
    found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    for child in table.get_children():
        found |= _globals(child)
    return found


def _globals(table: symtable.SymbolTable) -> set[str]:
    found: set[str] = set()
    for symbol in table.get_symbols():
        if symbol.is_declared_global() and symbol.is_assigned():
            raise InvalidError(
                f"`{table.get_name()}` assigns the global `{symbol.get_name()}`, which nobody would see here: return "
                "the value"
            )
        if symbol.is_global() and symbol.is_referenced():
            found.add(symbol.get_name())
    for child in table.get_children():
        found |= _globals(child)
    return found


def _annotated(node: ast.AST) -> set[str]:
    annotations: list[ast.AST | None] = []
    for each in ast.walk(node):
        if isinstance(each, (ast.arg, ast.AnnAssign)):
            annotations.append(each.annotation)
        elif isinstance(each, _Function):
            annotations.append(each.returns)
    names = (name for each in annotations if each is not None for name in ast.walk(each))
    return {name.id for name in names if isinstance(name, ast.Name)}


def submodules(text: str, name: str, module: str) -> list[str]:
    """The modules below ``module`` that a text reaches by attributes of ``name``: ``xml.etree`` of ``xml``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        path: list[str] = []
        at: ast.AST = node
        while isinstance(at, ast.Attribute):
            path.insert(0, at.attr)
            at = at.value
        if isinstance(at, ast.Name) and at.id == name:
            for length in range(1, len(path) + 1):
                below = ".".join([module, *path[:length]])
                if below in sys.modules:
                    found.add(below)
    return sorted(found)
