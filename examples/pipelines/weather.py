# /// script
# requires-python = ">=3.10"
# dependencies = ["rich==15.0.0"]
#
# [tool.fastflow]
# description = "A pipeline in a single file, with its dependencies written inside"
# tags = ["demo"]
# timeout = 60
# ///
"""A week of made-up weather as a table. Ends with SUCCESS."""

import random

from rich.console import Console
from rich.table import Table

chance = random.Random(7)
table = Table(title="Weather next week")
table.add_column("day")
table.add_column("°C", justify="right")
table.add_column("sky")
for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"):
    degrees = chance.randint(-5, 30)
    table.add_row(day, f"[{'red' if degrees > 20 else 'cyan'}]{degrees}[/]", chance.choice(["sun", "clouds", "rain"]))

# A log keeps colours; whoever shows it decides what becomes of them.
Console(force_terminal=True, width=60).print(table)
