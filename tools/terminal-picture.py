# /// script
# requires-python = ">=3.10"
# dependencies = ["rich==15.0.0"]
# ///
"""Draws what a terminal showed as an SVG.

    tmux capture-pane -e -p | uv run tools/terminal-picture.py 'make demo' > docs/images/quickstart.svg
"""

import io
import re
import sys

from rich.ansi import AnsiDecoder
from rich.console import Console

console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True)
for line in AnsiDecoder().decode(sys.stdin.read().rstrip("\n")):
    console.print(line, no_wrap=True, crop=True)
picture = console.export_svg(title=sys.argv[1])
# No fonts from elsewhere: the reader's own will do.
picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
print(picture.replace("Fira Code", "Menlo, Consolas, DejaVu Sans Mono"))
