"""Tables of results, and what IPython shows of lists of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

from ..pipelines import Pipeline
from ..runs import Attempt, RunData
from ._html import Html
from ._pipelines import pipelines_table
from ._tables import MAX_ROWS, attempts_table, records_table, runs_table


class Table:
    """Results as a table in a notebook: runs, attempts, pipelines, or anything else that a flow answers.

    >>> _ = flow.run("hello").wait()
    >>> from fastflow import notebook
    >>> "hello" in notebook.table(flow.runs.list(limit=5))._repr_html_()
    True
    """

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Any]) -> None:
        self.items: list[Any] = list(islice(items, MAX_ROWS + 1))
        """What is in it: what was given, up to one more than it shows."""

    def _repr_html_(self) -> str:
        return str(html_of(self.items) or records_table([]))

    def __repr__(self) -> str:
        return f"<fastflow.notebook.Table of {len(self.items)}>"


def table(items: Iterable[Any]) -> Table:
    """A table of results, to be the last expression of a cell; up to 200 of them.

    Args:
        items: runs, attempts, pipelines or the like.
    """
    return Table(items)


def html_of(items: list[Any]) -> Html | None:
    """A list of results as HTML. None when it is no list of results, and IPython shows it as it always does."""
    if not items:
        return None
    if all(isinstance(each, RunData) for each in items):
        return runs_table(cast("list[RunData]", items))
    if all(isinstance(each, Attempt) for each in items):
        return attempts_table(cast("list[Attempt]", items))
    if all(isinstance(each, Pipeline) for each in items):
        return pipelines_table(cast("list[Pipeline]", items))
    if all(_is_ours(each) for each in items):
        return records_table(items)
    return None


def _is_ours(item: object) -> bool:
    return dataclasses.is_dataclass(item) and type(item).__module__.partition(".")[0] == "fastflow"
