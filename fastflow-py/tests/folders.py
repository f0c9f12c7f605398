"""Pipelines that tests write for themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WAITS_FOR_A_FILE = """
import os
import pathlib
import time

while not pathlib.Path(os.environ["GATE"]).exists():
    time.sleep(0.01)
"""


def write(folder: Path, name: str, main: str = "", **manifest: Any) -> Path:
    """Writes one into a folder of pipelines: its program, and what its `pipeline.json` says."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "main.py").write_text(main)
    (place / "pipeline.json").write_text(json.dumps(manifest, indent=2))
    return place
