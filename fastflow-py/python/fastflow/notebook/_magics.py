"""``%load_ext fastflow``: the magics, and lists of results as tables. Importing this needs IPython."""

from __future__ import annotations

import argparse
import keyword
import shlex
from typing import Any, cast

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class

from ..errors import FastflowError
from ..flow import AsyncFlow, Flow
from ..flow import open as open_flow
from ..runs import Run
from ._kernel import is_kernel
from ._table import html_of
from ._view import View

_FLOW = "flow"
_RUN = "_run"
_OF_CODE = ("requirements", "python", "memory", "cpu", "time_limit", "executor", "name")


class _Parser(argparse.ArgumentParser):
    """Answers what is wrong as a ``UsageError``, which IPython shows without a traceback."""

    def error(self, message: str) -> Any:  # argparse itself would end the kernel here
        raise UsageError(f"{message}\n{self.format_usage().strip()}")

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        raise _Helped(message or "")


class _Helped(Exception):
    """The help was shown; there is nothing left to do."""


def _cell_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="%%fastflow", description="Runs the cell isolated: in an environment and a sandbox of its own."
    )
    parser.add_argument(
        "--with", dest="requirements", metavar="PACKAGE", action="append", default=[],
        help="a package that the cell needs, such as polars or 'polars>=1'; as often as needed",
    )  # fmt: skip
    parser.add_argument("--python", metavar="VERSION", help="the version of Python, such as 3.12")
    parser.add_argument("--memory", metavar="SIZE", help="the most memory it may use, such as 4g")
    parser.add_argument("--cpu", metavar="CORES", type=float, help="the most processor time it may use, in cores")
    parser.add_argument("--time-limit", metavar="SECONDS", type=float, help="how long it may run")
    parser.add_argument("--executor", metavar="NAME", help="where it runs: process, docker or podman")
    parser.add_argument("--name", metavar="NAME", help="the name of the run's pipeline")
    parser.add_argument(
        "--as", dest="variable", metavar="VARIABLE", type=_variable, default=_RUN,
        help=f"the variable that gets the run; {_RUN} when nothing is said",
    )  # fmt: skip
    parser.add_argument(
        "--flow", metavar="VARIABLE", type=_variable, default=_FLOW,
        help=f"the variable that holds the flow; {_FLOW} when nothing is said",
    )  # fmt: skip
    parser.add_argument(
        "--background", action="store_true", help="do not wait for its end; the button of the view works at once then"
    )
    return parser


def _line_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="%fastflow",
        description="Opens and closes the flow of a notebook.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"And for a cell:\n\n{_cell_parser().format_help()}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    opening = commands.add_parser("open", help="opens a flow")
    opening.add_argument("pipelines", metavar="PATH", help="the folder of pipelines")
    opening.add_argument("--data-dir", metavar="PATH", help="where everything is kept; .fastflow beside the folder")
    opening.add_argument(
        "--executor", dest="executors", metavar="NAME", action="append", default=[],
        help="where runs may be sent: process, docker or podman; as often as needed, the first is the default, and "
        "process is always there",
    )  # fmt: skip
    closing = commands.add_parser("close", help="closes it; its runs go on")
    for each in (opening, closing):
        each.add_argument(
            "--as", dest="variable", metavar="VARIABLE", type=_variable, default=_FLOW,
            help=f"the variable that holds the flow; {_FLOW} when nothing is said",
        )  # fmt: skip
    return parser


def _variable(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise argparse.ArgumentTypeError(f"{name!r} is no name of a variable")
    return name


def _with_process(executors: list[str]) -> list[str]:
    """Those that were named, and processes of this machine: earlier runs may need them."""
    return executors if "process" in executors else [*executors, "process"]


def _parsed(parser: argparse.ArgumentParser, line: str) -> argparse.Namespace:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{parser.prog} {line}: {error}") from None
    return parser.parse_args(words)


@magics_class
class FastflowMagics(Magics):
    """``%fastflow open``, ``%fastflow close`` and ``%%fastflow``."""

    @line_cell_magic
    def fastflow(self, line: str, cell: str | None = None) -> None:
        """Runs the cell isolated (``%%fastflow``), or opens and closes a flow (``%fastflow open PATH``).

        ``%fastflow --help`` tells the options of both.
        """
        try:
            if cell is None:
                self._line(_parsed(_line_parser(), line))
            else:
                self._cell(_parsed(_cell_parser(), line), cell)
        except _Helped:
            pass
        except FastflowError as error:
            raise UsageError(f"%fastflow: {error}") from error

    def _line(self, options: argparse.Namespace) -> None:
        if options.command == "open":
            self._refuse_two(options.variable)
            executors = _with_process(options.executors)
            flow = open_flow(options.pipelines, data_dir=options.data_dir, executors=executors).start()
            self._set(options.variable, flow)
            print(f"{options.variable} = {flow!r}")
            return
        self._flow(options.variable).close()
        self._names().pop(options.variable, None)

    def _cell(self, options: argparse.Namespace, cell: str) -> None:
        flow = self._flow(options.flow)
        self._refuse_to_lose_a_flow(options.variable)
        given = vars(options)
        chosen = {name: given[name] for name in _OF_CODE if given[name] is not None}
        run = flow.run_code(cell, **cast(Any, chosen))
        self._set(options.variable, run)
        if options.background and is_kernel():
            View(run).show()
        elif is_kernel():
            self._watched(run, options.variable)
        elif not options.background:
            self._printed(run, options.variable)

    def _watched(self, run: Run, variable: str) -> None:
        view = View(run)
        view.show()
        try:
            view.wait()
        except KeyboardInterrupt:
            view.stop()
            _say_that_it_goes_on(variable)
        else:
            self._set(variable, run.refresh())

    def _printed(self, run: Run, variable: str) -> None:
        """For a terminal, where nothing can be replaced."""
        try:
            for line in run.logs():
                print(line.text)
        except KeyboardInterrupt:
            _say_that_it_goes_on(variable)
            return
        self._set(variable, run.refresh())
        print(f"{run.refresh().status}: {variable} is the run")

    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = cast(Any, self.shell).user_ns
        return names

    def _set(self, variable: str, value: object) -> None:
        cast(Any, self.shell).push({variable: value})

    def _flow(self, variable: str) -> Flow:
        found = self._names().get(variable)
        if isinstance(found, AsyncFlow):
            return Flow(found._engine, found._timeout)
        if isinstance(found, Flow):
            return found
        raise UsageError(
            f"there is no flow in the variable {variable!r}: open one by `%fastflow open PATH`, where PATH is a folder "
            "of pipelines, or name the variable that has one by `--flow`"
        )

    def _refuse_to_lose_a_flow(self, variable: str) -> None:
        if isinstance(self._names().get(variable), (Flow, AsyncFlow)):
            raise UsageError(f"{variable} holds a flow: name another variable for the run by `--as`")

    def _refuse_two(self, variable: str) -> None:
        found = self._names().get(variable)
        if isinstance(found, (Flow, AsyncFlow)) and found._engine.is_alive():
            raise UsageError(f"{variable} is {found!r} already: `%fastflow close` closes it")


def _say_that_it_goes_on(variable: str) -> None:
    print(f"Not watched any more; the run goes on. {variable}.cancel() cancels it, {variable}.view() shows it again.")


def load(shell: InteractiveShell) -> None:
    """Registers the magics, and the tables of lists of results."""
    shell.register_magics(FastflowMagics)
    _html_formatter(shell).for_type(list, html_of)


def unload(shell: InteractiveShell) -> None:
    """Takes back what :func:`load` did."""
    _html_formatter(shell).pop(list, None)
    for kind in ("line", "cell"):
        cast(Any, shell).magics_manager.magics[kind].pop("fastflow", None)


def _html_formatter(shell: InteractiveShell) -> Any:
    return cast(Any, shell.display_formatter).formatters["text/html"]
