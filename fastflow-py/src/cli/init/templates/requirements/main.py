"""Prints a table. What it imports is in requirements.txt."""

from tabulate import tabulate


def main() -> None:
    rows = [(n, n * n) for n in range(1, 4)]
    print(tabulate(rows, headers=["n", "n * n"]))


if __name__ == "__main__":
    main()
