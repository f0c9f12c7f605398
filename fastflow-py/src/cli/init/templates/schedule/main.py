"""Runs every night, while some process hosts this folder."""

import os


def main() -> None:
    print(f"for {os.environ.get('FASTFLOW_SCHEDULED_FOR', 'now, by hand')}")


if __name__ == "__main__":
    main()
