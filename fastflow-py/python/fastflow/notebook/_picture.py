"""The picture of a run that is being watched."""

from __future__ import annotations

from ._curve import drawn
from ._html import Html, element, joined
from ._style import framed
from ._tables import head
from ._text import size
from ._watch import Sight

_CPU = "#3584d8"
_MEMORY = "#9a62c7"
_NOTES = ("setup", "sandbox", "truncated")


def picture(sight: Sight, how_to_cancel: str | None) -> Html:
    """What is seen of a run. ``how_to_cancel`` stands below it where there is no button."""
    parts = [head(sight.run)]
    if sight.tail.progress is not None and not sight.run.is_final:
        parts.append(_progress(sight))
    if sight.run.failure is not None:
        parts.append(element("div", sight.run.failure.message, class_="ff-failed"))
    if sight.cpu.points:
        parts.append(_curves(sight))
    parts.append(_log(sight))
    if sight.note:
        parts.append(element("div", sight.note, class_="ff-soft"))
    if how_to_cancel is not None and not sight.run.is_final:
        parts.append(element("div", "To cancel it: ", element("code", how_to_cancel), class_="ff-soft"))
    return framed(*parts)


def _progress(sight: Sight) -> Html:
    progress = sight.tail.progress
    assert progress is not None
    bar = element(
        "div",
        element("div", style=f"width:{progress.percent:.1f}%"),
        class_="ff-bar",
        role="progressbar",
        aria_valuenow=f"{progress.percent:.0f}",
        aria_valuemin="0",
        aria_valuemax="100",
    )
    return element(
        "div", bar, element("span", f"{progress.percent:.0f} %"), element("span", progress.message), class_="ff-head"
    )


def _curves(sight: Sight) -> Html:
    cpu = f"{sight.cpu.newest:.2f} cores" if not sight.run.is_final else f"peak {sight.cpu.peak:.2f} cores"
    memory = size(int(sight.memory.newest)) if not sight.run.is_final else f"peak {size(int(sight.memory.peak))}"
    curves = joined(drawn(sight.cpu, "CPU", cpu, _CPU), drawn(sight.memory, "memory", memory, _MEMORY))
    return element("div", curves, class_="ff-curves")


def _log(sight: Sight) -> Html:
    lines = [_line(stream, text) for stream, text in sight.tail.lines()]
    if not lines:
        return element("div", "no output" if sight.run.is_final else "no output yet", class_="ff-soft")
    if sight.tail.is_cut:
        lines.insert(0, element("span", "… earlier lines: run.logs()\n", class_="ff-note"))
    return element("div", element("pre", joined(*lines)), class_="ff-log")


def _line(stream: str, text: str) -> Html:
    kind = "ff-note" if stream in _NOTES else f"ff-{stream}"
    return element("span", text + "\n", class_=kind)
