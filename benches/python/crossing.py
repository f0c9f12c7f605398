"""What crossing between Rust and Python costs, against the same steps without Python, in turns in one run.

Usage: python benches/python/crossing.py PATH_OF_THE_RUST_PROGRAM

The Rust program is `cargo build --release -p fastflow-benches --bin crossing`. Prints one line a measure, with its
floor and its target, and fails nothing: a busy machine must not fail anybody.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fastflow

LINES = 100_000
SUBMITS = 500
AWAITS = 1_000
ROUNDS = 7
STARTS = 3
PROGRAM = f'for number in range({LINES}):\n    print(f"line {{number}} of a log that is read in Python")\n'


def rust(program: str, pipelines: Path, data_dir: Path, *step: str) -> float:
    """The seconds that the Rust program says the step took."""
    command = [program, str(pipelines), str(data_dir), *step]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])


def read(flow: fastflow.Flow, run: fastflow.Run) -> float:
    """Reads the whole log, with the text of each line."""
    began = time.perf_counter()
    count = sum(1 for line in flow.runs.logs(run.id) if line.text is not None)
    took = time.perf_counter() - began
    assert count >= LINES, count
    return took


async def read_async(pipelines: Path, data_dir: Path, run: fastflow.Run) -> float:
    """The same with `async for`."""
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        began = time.perf_counter()
        count = 0
        async for line in flow.runs.logs(run.id):
            count += line.text is not None
        took = time.perf_counter() - began
    assert count >= LINES, count
    return took


def submit(pipelines: Path, data_dir: Path) -> float:
    """Accepts runs, one after the other."""
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        began = time.perf_counter()
        for _ in range(SUBMITS):
            flow.run("lines", delay=3600)
        return time.perf_counter() - began


async def awaits(pipelines: Path, data_dir: Path, run: fastflow.Run) -> tuple[float, float]:
    """Many awaits at one time, and as many one after the other."""
    async with fastflow.open(pipelines, data_dir=data_dir) as flow:
        began = time.perf_counter()
        found = await asyncio.gather(*(flow.runs.wait(run.id) for _ in range(AWAITS)))
        together = time.perf_counter() - began
        assert all(each.status is fastflow.Status.SUCCESS for each in found)
        began = time.perf_counter()
        for _ in range(AWAITS):
            await flow.runs.wait(run.id)
        return together, time.perf_counter() - began


def start(code: str) -> float:
    """The seconds until an interpreter has ended that does this."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    return time.perf_counter() - began


def median(values: list[float]) -> float:
    return statistics.median(values)


def main() -> None:
    (program,) = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        pipelines, data_dir = Path(place, "pipelines"), Path(place, "data")
        pipelines.mkdir()
        (pipelines / "lines.py").write_text(PROGRAM)
        with fastflow.open(pipelines, data_dir=data_dir) as flow:
            run = flow.run("lines").wait()
            assert run.status is fastflow.Status.SUCCESS, run
        times: dict[str, list[float]] = {}

        def note(name: str, seconds: float) -> None:
            times.setdefault(name, []).append(seconds)

        for number in range(ROUNDS):
            with fastflow.open(pipelines, data_dir=data_dir) as flow:
                note("logs", read(flow, run))
            note("logs rust", rust(program, pipelines, data_dir, "logs", str(run.id)))
            note("logs async", asyncio.run(read_async(pipelines, data_dir, run)))
            queue = Path(place, f"queue {number}")
            note("submit", submit(pipelines, queue / "python"))
            note("submit rust", rust(program, pipelines, queue / "rust", "submit", str(SUBMITS)))
            together, alone = asyncio.run(awaits(pipelines, data_dir, run))
            note("awaits", together)
            note("awaits alone", alone)
            for _ in range(STARTS):
                note("nothing", start("pass"))
                note("import", start("import fastflow"))
        report({name: median(values) for name, values in times.items()})


def report(medians: dict[str, float]) -> None:
    """One line a measure."""
    for name in ("logs", "logs async"):
        rate, floor = LINES / medians[name], LINES / medians["logs rust"]
        met = "met" if rate >= 200_000 else "NOT met"
        print(f"{name}: {rate:,.0f} lines/s, floor {floor:,.0f} lines/s; at least 200,000: {met}")
    ratio = medians["submit"] / medians["submit rust"]
    each, floor = (1e6 * medians[name] / SUBMITS for name in ("submit", "submit rust"))
    met = "met" if ratio <= 1.2 else "NOT met"
    print(f"submit: {each:,.0f} us, floor {floor:,.0f} us, {ratio:.2f}x; at most 1.2x: {met}")
    millis = 1e3 * (medians["import"] - medians["nothing"])
    met = "met" if millis < 50 else "NOT met"
    print(f"import: {millis:.1f} ms more than nothing; less than 50: {met}")
    each, floor = (1e6 * medians[name] / AWAITS for name in ("awaits", "awaits alone"))
    print(f"{AWAITS} awaits at one time: {each:,.0f} us each; one after the other: {floor:,.0f} us each")


main()
