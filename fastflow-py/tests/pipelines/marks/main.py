"""Leaves its id in a file: one line for each time that it is executed."""

import os
import time

mark = os.open(os.environ["MARK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(mark, (os.environ["FASTFLOW_RUN_ID"] + "\n").encode())
os.close(mark)
for number in range(5):
    print(f"line {number}", flush=True)
    time.sleep(float(os.environ.get("PAUSE_SECONDS", "0.02")))
