"""How outputs look: with the colours of the page around them, light or dark, and with nothing from elsewhere."""

from __future__ import annotations

from ._html import Html, element

# The text has the colour of the page, and lines and surfaces are greys that are seen on white and on black: no theme
# has to be known. The colours of states have a contrast of at least 3:1 on both. Where ``&`` stands, a
# doubled class outdoes what front ends say of all tables, code and preformatted text.
_SHEET = """
.fastflow{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.5;color:inherit;
max-width:60em}
& .ff-head{display:flex;flex-wrap:wrap;align-items:center;gap:.3em .8em;margin:.2em 0}
& .ff-name{font-weight:600;font-size:14px}
& .ff-soft{opacity:.7}
& .ff-badge{border:1px solid currentColor;border-radius:4px;padding:0 .5em;font-size:11px;font-weight:600;
letter-spacing:.03em;white-space:nowrap}
& .ff-success{color:#2a9253}& .ff-failed{color:#db4a4a}& .ff-running{color:#3584d8}
& .ff-pending{color:#a37a1c}& .ff-cancelled{color:#868686}
& table.ff-table{border-collapse:collapse;margin:.3em 0;border:0;font-size:inherit;color:inherit;
table-layout:auto}
& .ff-table th,& .ff-table td{text-align:left;vertical-align:top;padding:.15em .9em .15em 0;border:0;
border-bottom:1px solid rgba(128,128,128,.25);background:none;color:inherit;max-width:38em;white-space:normal;
overflow-wrap:anywhere}
& .ff-table th{font-weight:600;opacity:.75;white-space:nowrap}
& code{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;background:none;
color:inherit;padding:0;overflow-wrap:anywhere}
& .ff-curves{display:flex;flex-wrap:wrap;gap:.3em 2em;margin:.3em 0}
& .ff-curve{display:flex;align-items:center;gap:.6em}
& svg{display:block}
& .ff-bar{height:6px;border-radius:3px;background:rgba(128,128,128,.25);overflow:hidden;width:12em}
& .ff-bar>div{height:100%;background:#3584d8}
& .ff-log{display:flex;flex-direction:column-reverse;max-height:20em;overflow:auto;margin:.3em 0;
padding:.4em .6em;border:1px solid rgba(128,128,128,.3);border-radius:4px;background:rgba(128,128,128,.08)}
& .ff-log pre{flex:none;overflow:visible;margin:0;padding:0;border:0;background:none;color:inherit;
font-size:12px;line-height:1.4;font-family:var(--jp-code-font-family,ui-monospace,monospace);
white-space:pre-wrap;overflow-wrap:anywhere}
& .ff-log .ff-stderr{color:#cf5d3c}& .ff-log .ff-note{opacity:.65}
& .ff-cancel{font:inherit;color:inherit;cursor:pointer;background:none;
border:1px solid rgba(128,128,128,.6);border-radius:4px;padding:.1em .9em}
& .ff-cancel:disabled{opacity:.5;cursor:default}
""".replace("\n", "").replace("&", ".fastflow.fastflow")


def framed(*parts: Html) -> Html:
    """An output: the parts with the style sheet that they need."""
    return element("div", element("style", Html(_SHEET)), *parts, class_="fastflow")
