# /// script
# requires-python = ">=3.10"
# dependencies = ["tabulate==0.9.*"]
#
# [tool.fastflow]
# description = "Prints a table, from one file"
# timeout = 600
# ///
"""Prints a table. The lines above say what it needs."""

from tabulate import tabulate


def main() -> None:
    rows = [(n, n * n) for n in range(1, 4)]
    print(tabulate(rows, headers=["n", "n * n"]))


if __name__ == "__main__":
    main()
