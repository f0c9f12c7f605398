"""Pipelines as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ..pipelines import Pipeline
from ..runs import Status
from ._html import Html, element
from ._tables import MAX_ROWS, badge, cell, table_of


def pipelines_table(pipelines: Iterable[Pipeline]) -> Html:
    """Pipelines, one row each."""
    names = ["pipeline", "description", "state", "environment", "succeeded", "failed", "cancelled", "last submitted"]
    return table_of(names, [_row(each) for each in islice(pipelines, MAX_ROWS + 1)], "no pipelines")


def _row(pipeline: Pipeline) -> list[object]:
    definition, counters = pipeline.definition, pipeline.counters
    wrong = [element("div", cell(found)) for found in islice(pipeline.diagnostics, 3)]
    description = "" if definition is None else cell(definition.description)
    return [
        element("span", pipeline.name, class_="ff-name"),
        element("div", element("div", description), *wrong) if wrong else description,
        badge(Status.SUCCESS, "ready") if pipeline.is_runnable else badge(Status.FAILED, "cannot run"),
        cell(pipeline.environment.state),
        counters.succeeded,
        counters.failed,
        counters.cancelled,
        cell(pipeline.last_submitted_at),
    ]
