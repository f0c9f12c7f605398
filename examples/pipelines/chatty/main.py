"""Writes more than anybody reads: 40,000 lines on two streams, and a progress bar that overwrites itself."""

import sys

ROUNDS = 200
LINES_A_ROUND = 180
WARNINGS_A_ROUND = 20
BAR = 30

for done in range(1, ROUNDS + 1):
    for line in range(LINES_A_ROUND):
        print(f"round {done:3}: line {line:3}: the quick brown fox jumps over the lazy dog")
    print("\r\033[K", end="", file=sys.stderr)
    for line in range(WARNINGS_A_ROUND):
        print(f"round {done:3}: warning {line:2}: the dog is not amused", file=sys.stderr)
    bar = "#" * (BAR * done // ROUNDS)
    print(f"\rwriting [{bar:<{BAR}}] {100 * done // ROUNDS:3} %", end="", file=sys.stderr, flush=True)

print(file=sys.stderr)
print(f"{ROUNDS * LINES_A_ROUND} lines on stdout, {ROUNDS * WARNINGS_A_ROUND} warnings on stderr")
