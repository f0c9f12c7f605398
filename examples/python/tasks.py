"""Functions that run isolated: each in an environment and a sandbox of its own, with its result brought back.

    python examples/python/tasks.py
"""

from __future__ import annotations

import statistics
from concurrent.futures import as_completed
from pathlib import Path

import fastflow
from fastflow.futures import FlowExecutor

flow = fastflow.open(Path(__file__).parents[1] / "pipelines").start()

DIGITS = 2


def rounded(number: float) -> float:
    return round(number, DIGITS)


@flow.task(memory="256m", time_limit=60)
def summarise(numbers: list[float]) -> dict[str, float]:
    """Goes to the sandbox with `rounded`, `DIGITS` and the import."""
    print("summarising", len(numbers), "numbers")
    return {"mean": rounded(statistics.mean(numbers)), "median": rounded(statistics.median(numbers))}


def main() -> None:
    print(summarise([1, 2, 6]))

    call = summarise.submit([3, 4])
    print(call.result(), [line.text for line in call.logs() if line.stream == "stdout"])

    for result in summarise.map([[1.0], [1.0, 2.0], [1.0, 2.0, 4.0]], max_in_flight=2):
        print(result["mean"])

    try:
        summarise([])
    except fastflow.TaskError as error:
        print("it failed there:", error)

    with FlowExecutor(flow, memory="256m") as executor:
        futures = [executor.submit(pow, 2, exponent) for exponent in (3, 4, 5)]
        print(sorted(future.result() for future in as_completed(futures)))


if __name__ == "__main__":
    with flow:
        main()
