"""Leaves files and a folder behind. They stay with the run until it is cleaned away."""

import json
from pathlib import Path

report = Path("report")
(report / "pages").mkdir(parents=True)
for number in range(1, 4):
    (report / "pages" / f"{number}.txt").write_text(f"This is page {number}.\n", encoding="utf-8")
(report / "index.json").write_text(json.dumps({"pages": 3}) + "\n", encoding="utf-8")
Path("summary.txt").write_text("three pages and an index\n", encoding="utf-8")

for path in sorted(Path().rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size:5} {path}")
