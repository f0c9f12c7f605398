"""How a function becomes the text of a module of its own: its source, and what it needs of its module."""

from __future__ import annotations

import builtins
import copy
import inspect
import math
import sys
import sysconfig
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from . import _definition
from ._definition import Definition
from ._remote.runner import kind_of
from .errors import InvalidError

CONSTANT_CHARS_MAX = 64 * 1024
"""The longest constant of a module that is sent with a function that uses it, as it is written in Python."""

_CONSTANT_DEPTH_MAX = 20
_PICKLE_HINT = 'or use serializer="cloudpickle"'
# What holds a function that was made a task: in the sandbox it is the function again.
FUNCTION_ATTRIBUTE = "__fastflow_function__"


def check(function: Any) -> FunctionType:
    """The function, if it is one whose source can be sent.

    Raises:
        InvalidError: it is none. The message says what to do.
    """
    name = getattr(function, "__name__", repr(function))
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        raise InvalidError(
            f"`{name}` is no plain function: give one that is defined with `def` and has no other decorator, "
            f"{_PICKLE_HINT}"
        )
    if name == "<lambda>":
        raise InvalidError(f"a lambda has no source of its own: define a function with `def`, {_PICKLE_HINT}")
    check_kind(function)
    if function.__code__.co_freevars:
        variables = ", ".join(f"`{each}`" for each in function.__code__.co_freevars)
        raise InvalidError(
            f"`{name}` uses {variables} of the function around it, which is not sent: pass it as an argument, "
            f"{_PICKLE_HINT}"
        )
    owner = function.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>"):
        raise InvalidError(f"`{function.__qualname__}` is a method: define a function outside of the class")
    return function


def check_kind(function: Any) -> None:
    """Refuses what gives no value when it is called."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidError(
            f"`{function.__name__}` is a coroutine function: make it a plain one, which calls `asyncio.run`"
        )
    if inspect.isgeneratorfunction(function):
        raise InvalidError(f"`{function.__name__}` is a generator function: return a list")


def module_of(function: Any) -> tuple[str, str]:
    """The text of a module with the function in it, and its name there.

    Raises:
        InvalidError: it needs what cannot cross. The message names it.
    """
    found = reference(function)
    if found is not None:
        module, name = found
        return f"from {module} import {name}\n", name
    function = check(function)
    gathered = _Gathered(function.__globals__)
    gathered.add_function(function, decorated=False)
    return gathered.text(), function.__name__


class _Gathered:
    """What goes into the module."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._imports: dict[str, None] = {}
        self._constants: dict[str, str] = {}
        self._definitions: dict[str, Definition] = {}
        self._aliases: dict[str, str] = {}
        self._begun: set[str] = set()

    def text(self) -> str:
        definitions = list(self._definitions.values())
        # Where all is of one file, its order is one in which it works.
        if len({each.file for each in definitions}) == 1:
            definitions.sort(key=lambda each: each.line)
        parts = [
            "from __future__ import annotations\n",
            *(f"{line}\n" for line in self._imports),
            *(f"{name} = {value}\n" for name, value in self._constants.items()),
            *(f"\n\n{each.text}{self._aliases_of(each)}" for each in definitions),
        ]
        return "".join(parts)

    def _aliases_of(self, definition: Definition) -> str:
        """Its other names, where it has just been defined: what follows may need them at once, as a default."""
        names = [name for name, target in self._aliases.items() if self._definitions[target] is definition]
        return "".join(f"\n{name} = {self._aliases[name]}\n" for name in names)

    def add_function(self, function: FunctionType, *, decorated: bool) -> None:
        self._begun.add(function.__name__)
        definition = _definition.of_function(function, decorated=decorated)
        if definition.decorators > 1 and not decorated:
            raise InvalidError(f"`{function.__name__}` has other decorators, which are not sent: take them away")
        self._add_definition(function.__name__, definition)

    def _add_definition(self, name: str, definition: Definition) -> None:
        for needed in sorted(definition.needs):
            self._add(needed, name, definition)
        for mentioned in sorted(definition.mentions):
            self._add_if_possible(mentioned, name, definition)
        self._definitions[name] = definition

    def _add_if_possible(self, name: str, user: str, definition: Definition) -> None:
        trial = copy.copy(self)
        trial.__dict__.update({field: copy.copy(value) for field, value in vars(self).items()})
        try:
            trial._add(name, user, definition)
        except InvalidError:
            # A name that is in annotations only is not looked up there.
            return
        self.__dict__.update(vars(trial))

    def _add(self, name: str, user: str, definition: Definition) -> None:
        if name in self._begun:
            return
        if name not in self._names:
            if hasattr(builtins, name):
                return
            raise InvalidError(f"`{user}` uses `{name}`, which is not defined")
        if name in ("__name__", "__file__", "__doc__"):
            return
        self._begun.add(name)
        value = self._names[name]
        value = getattr(value, FUNCTION_ATTRIBUTE, value)
        if isinstance(value, ModuleType):
            self._add_module(name, value, user, definition)
            return
        found = reference(value, name)
        literal = _literal(value)
        if found is not None:
            self._imports[f"from {found[0]} import {found[1]} as {name}"] = None
        elif literal is not None:
            if len(literal) > CONSTANT_CHARS_MAX:
                raise InvalidError(
                    f"`{user}` uses the constant `{name}`, which has more than {CONSTANT_CHARS_MAX} characters: pass "
                    "it as an argument"
                )
            self._constants[name] = literal
        elif isinstance(own := _unwrapped(value), (FunctionType, type)) and self._is_of_module(own):
            self._add_own(name, own)
        else:
            raise self._refused(name, value, user)

    def _add_module(self, name: str, module: ModuleType, user: str, definition: Definition) -> None:
        path = module.__name__
        if not is_there(path):
            raise InvalidError(
                f"`{user}` uses the module `{name}`, which is no installed package and would not be there: move what "
                f"it needs into the same module, run the folder with `run_folder`, {_PICKLE_HINT}"
            )
        self._imports[f"import {path}" if path == name else f"import {path} as {name}"] = None
        for below in _definition.submodules(definition.text, name, path):
            self._imports[f"import {below}"] = None
        # Another definition may reach further into it.
        self._begun.discard(name)

    def _is_of_module(self, value: FunctionType | type) -> bool:
        return value.__module__ == self._names.get("__name__")

    def _add_own(self, name: str, value: FunctionType | type) -> None:
        own = value.__name__
        if name != own:
            there = self._names.get(own)
            if _unwrapped(getattr(there, FUNCTION_ATTRIBUTE, there)) is not value:
                raise InvalidError(f"`{name}` was defined as `{own}`, and `{own}` is something else now: rename one")
            self._aliases[name] = own
            if own in self._begun:
                return
            self._begun.add(own)
        if isinstance(value, FunctionType):
            self.add_function(value, decorated=not hasattr(self._names[own], FUNCTION_ATTRIBUTE))
        else:
            self._add_definition(own, _definition.of_class(value))

    def _refused(self, name: str, value: Any, user: str) -> InvalidError:
        kind = kind_of(value)
        if isinstance(value, (FunctionType, type)):
            return InvalidError(
                f"`{user}` uses `{name}` of the module `{value.__module__}`, which is no installed package and would "
                f"not be there: move it into the same module, run the folder with `run_folder`, {_PICKLE_HINT}"
            )
        return InvalidError(
            f"`{user}` uses `{name}`, which is a {kind.__module__}.{kind.__qualname__} and cannot be sent: make it "
            f"inside of the function, pass what it is made of as an argument, {_PICKLE_HINT}"
        )


def _unwrapped(value: Any) -> Any:
    """What a decorator that keeps to ``functools.wraps`` was given: it is decorated anew there."""
    return inspect.unwrap(value) if callable(value) else value


def reference(value: Any, name: str = "") -> tuple[str, str] | None:
    """Where a value can be imported from in a sandbox."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or isinstance(value, ModuleType) or not is_there(module):
        return None
    for candidate in (getattr(value, "__name__", None), name):
        if isinstance(candidate, str) and candidate.isidentifier():
            if getattr(sys.modules.get(module), candidate, None) is value:
                return module, candidate
    return None


def is_there(module: str) -> bool:
    """Whether a module is of the standard library, or of a package that is installed and not just lies around."""
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names:
        return True
    while module:
        places = _places(sys.modules.get(module))
        if places:
            folders = _folders_of_packages()
            return all(not folders.isdisjoint(Path(place).parents) for place in places)
        module = module.rpartition(".")[0]
    return False


def _places(module: ModuleType | None) -> list[str]:
    """Where a module lies; parts of a namespace package can lie in several folders."""
    file = getattr(module, "__file__", None)
    return [file] if isinstance(file, str) else list(getattr(module, "__path__", ()))


def _folders_of_packages() -> set[Path]:
    """Where packages are installed: those of this environment, of the system and of the user."""
    folders = {Path(sysconfig.get_path(which)) for which in ("purelib", "platlib")}
    return folders | {path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages")}


def _literal(value: Any, depth: int = 0) -> str | None:
    """A constant as it is written in Python; None for what cannot be written."""
    kind = kind_of(value)
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else None
    if depth > _CONSTANT_DEPTH_MAX or kind not in (list, tuple, set, frozenset, dict):
        return None
    items: list[Any] = [*value, *value.values()] if kind is dict else list(value)
    if any(_literal(each, depth + 1) is None for each in items):
        return None
    return repr(value)
