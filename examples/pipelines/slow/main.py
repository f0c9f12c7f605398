"""Works in steps that take longer than it is given."""

import time

STEPS = 60

for step in range(1, STEPS + 1):
    print(f"step {step} of {STEPS}", flush=True)
    time.sleep(1)
