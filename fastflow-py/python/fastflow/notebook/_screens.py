"""Where pictures appear: a widget with a button where there are widgets, and HTML that is replaced elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from ._html import Html

if TYPE_CHECKING:
    from ._widget import RunWidget


class Screen(Protocol):
    """Where the pictures of one view appear."""

    has_button: bool
    """Whether people can cancel the run there."""

    def begin(self, picture: Html, text: str) -> None:
        """Shows the first picture, in the output of the running cell."""
        ...

    def show(self, picture: Html, text: str) -> None:
        """Replaces the picture."""
        ...

    def end(self, picture: Html, text: str) -> None:
        """Replaces it for good, by what a saved notebook can show without a kernel."""
        ...


class HtmlScreen:
    """HTML that is replaced in place, in any front end of Jupyter."""

    has_button = False

    def __init__(self) -> None:
        self._display_id = os.urandom(16).hex()

    def begin(self, picture: Html, text: str) -> None:
        """Shows the first picture."""
        _publish(_bundle(picture, text), self._display_id, update=False)

    def show(self, picture: Html, text: str) -> None:
        """Replaces the picture."""
        _publish(_bundle(picture, text), self._display_id, update=True)

    def end(self, picture: Html, text: str) -> None:
        """Replaces it for good."""
        _publish(_bundle(picture, text), self._display_id, update=True)


class WidgetScreen:
    """A widget, until the run ends; then the same HTML as without one, which needs no kernel."""

    has_button = True

    def __init__(self, widget: RunWidget) -> None:
        self._widget = widget
        self._display_id = os.urandom(16).hex()

    def begin(self, picture: Html, text: str) -> None:
        """Shows the widget, with its picture beside it for whoever cannot show widgets."""
        self._widget.html = str(picture)
        bundle = _bundle(picture, text)
        bundle["application/vnd.jupyter.widget-view+json"] = {
            "version_major": 2,
            "version_minor": 0,
            "model_id": self._widget.model_id,
        }
        _publish(bundle, self._display_id, update=False)

    def show(self, picture: Html, text: str) -> None:
        """Gives the widget a new picture."""
        self._widget.html = str(picture)

    def end(self, picture: Html, text: str) -> None:
        """Puts HTML in the place of the widget: a notebook that was saved shows it without a kernel."""
        _publish(_bundle(picture, text), self._display_id, update=True)
        self._widget.leave()


class MarimoScreen:
    """A widget that marimo puts where it is the value of a cell; it stays, and loses its button at the end."""

    has_button = True

    def __init__(self, widget: RunWidget) -> None:
        self.widget = widget

    def begin(self, picture: Html, text: str) -> None:
        """Gives the widget its first picture."""
        self.widget.html = str(picture)

    def show(self, picture: Html, text: str) -> None:
        """Gives the widget a new picture."""
        self.widget.html = str(picture)

    def end(self, picture: Html, text: str) -> None:
        """Gives the widget its last picture."""
        self.widget.html = str(picture)
        self.widget.can_cancel = False


def best_screen(cancel: Callable[[], None]) -> Screen:
    """The best screen there is here."""
    try:
        from ._widget import RunWidget
    except ImportError:
        return HtmlScreen()
    return WidgetScreen(RunWidget(cancel))


def marimo_screen(cancel: Callable[[], None]) -> MarimoScreen:
    """A screen for marimo.

    Raises:
        ImportError: there are no widgets.
    """
    from ._widget import RunWidget

    return MarimoScreen(RunWidget(cancel))


def _bundle(picture: Html, text: str) -> dict[str, Any]:
    return {"text/plain": text, "text/html": str(picture)}


def _publish(bundle: dict[str, Any], display_id: str, *, update: bool) -> None:
    from IPython import display

    # Nobody has typed what it takes.
    cast(Any, display).publish_display_data(bundle, transient={"display_id": display_id}, update=update)
