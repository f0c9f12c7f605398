"""Says hello. Parameters arrive as environment variables."""

import os


def main() -> None:
    print(f"hello, {os.environ.get('who', 'world')}")


if __name__ == "__main__":
    main()
