"""A curve of what a run uses, in a few points however long the run is."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._html import Html, element, joined

MAX_POINTS = 120
"""How many points a curve has at most: an even number."""
_WIDTH = 180
_HEIGHT = 28


@dataclass(slots=True)
class Curve:
    """The highest values, each over an equal part of the time so far.

    When there are too many points, each two become the higher of them: the whole run stays in sight, and no peak is
    lost.
    """

    points: list[float] = field(default_factory=list[float])
    peak: float = 0.0
    newest: float = 0.0
    _samples_a_point: int = 1
    _samples_of_last: int = 0

    def add(self, value: float) -> None:
        """Adds a sample."""
        self.peak = max(self.peak, value)
        self.newest = value
        if self.points and self._samples_of_last < self._samples_a_point:
            self.points[-1] = max(self.points[-1], value)
            self._samples_of_last += 1
            return
        if len(self.points) == MAX_POINTS:
            self.points = [max(pair) for pair in zip(self.points[::2], self.points[1::2], strict=True)]
            self._samples_a_point *= 2
        self.points.append(value)
        self._samples_of_last = 1


def drawn(curve: Curve, name: str, text: str, colour: str) -> Html:
    """A curve with its name and its newest value."""
    top = max(curve.peak, 1e-9)
    step = _WIDTH / max(len(curve.points) - 1, 1)
    places = [
        f"{index * step:.1f},{_HEIGHT - 1 - (_HEIGHT - 2) * max(value, 0.0) / top:.1f}"
        for index, value in enumerate(curve.points)
    ]
    if len(places) == 1:
        places.append(f"{_WIDTH},{places[0].partition(',')[2]}")
    line = " ".join(places)
    area = element("polygon", points=f"0,{_HEIGHT} {line} {_WIDTH},{_HEIGHT}", fill=colour, fill_opacity="0.18")
    stroke = element("polyline", points=line, fill="none", stroke=colour, stroke_width="1.5")
    picture = element(
        "svg",
        joined(element("title", f"{name}: {text}"), area, stroke),
        width=_WIDTH,
        height=_HEIGHT,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
    )
    label = element("span", name, class_="ff-soft")
    return element("span", label, picture, element("span", text), class_="ff-curve")
