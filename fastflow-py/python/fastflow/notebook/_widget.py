"""The widget of a view. Importing this needs ``anywidget``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anywidget
import traitlets

# The HTML was escaped in Python, where it was made; nothing else is put into the page.
_MODULE = """
export default {
  render({ model, el }) {
    const body = document.createElement("div");
    const button = document.createElement("button");
    button.className = "ff-cancel";
    const frame = document.createElement("div");
    frame.className = "fastflow";
    frame.append(button);
    el.append(body, frame);
    const draw = () => {
      const before = body.querySelector(".ff-log");
      const scrolled = before ? before.scrollTop : 0;
      body.innerHTML = model.get("html");
      const after = body.querySelector(".ff-log");
      if (after) after.scrollTop = scrolled;
    };
    const press = () => {
      button.disabled = !model.get("can_cancel");
      button.textContent = model.get("is_cancelling") ? "Cancelling…" : "Cancel";
    };
    button.addEventListener("click", () => {
      button.disabled = true;
      model.send({ type: "cancel" });
    });
    model.on("change:html", draw);
    model.on("change:can_cancel", press);
    model.on("change:is_cancelling", press);
    draw();
    press();
    return () => {
      model.off("change:html", draw);
      model.off("change:can_cancel", press);
      model.off("change:is_cancelling", press);
    };
  },
};
"""


class RunWidget(anywidget.AnyWidget):
    """Shows HTML that Python makes, and a button that cancels."""

    _esm = _MODULE
    html = traitlets.Unicode("").tag(sync=True)
    can_cancel = traitlets.Bool(True).tag(sync=True)
    is_cancelling = traitlets.Bool(False).tag(sync=True)

    def __init__(self, cancel: Callable[[], None]) -> None:
        super().__init__()
        self._cancel = cancel
        cast(Any, self).on_msg(self._on_message)

    def leave(self) -> None:
        """Leaves the front end, with the layout that each widget comes with."""
        cast(Any, self).layout.close()
        self.close()

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("type") == "cancel" and self.can_cancel:
            self.can_cancel = False
            self.is_cancelling = True
            self._cancel()
