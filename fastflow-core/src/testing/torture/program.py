import os

KEY, ROOT, MODE = os.environ["KEY"], os.environ["ROOT"], os.environ["MODE"]
RUN, ATTEMPT = os.environ["FASTFLOW_RUN_ID"], os.environ["FASTFLOW_ATTEMPT"]

# The witness comes first: whatever happens to this process, its start has been seen.
path = f"{ROOT}/witness/{KEY}"
witness = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC, 0o600)
os.write(witness, f"{RUN} {ATTEMPT} {os.getpid()}\n".encode())
os.close(witness)

if MODE == "quick":
    os._exit(0)
if MODE == "betray":
    os.kill(os.getppid(), 9)

import random
import signal
import sys
import time
import traceback

with open(path) as lines:
    STARTS = len(lines.readlines())
CHANCE = random.Random(int(os.environ["SEED"]) + STARTS)
# What is said is written aside as well, so that the log can be compared byte by byte.
ASIDE = {fd: os.open(f"{ROOT}/said/{RUN}.{ATTEMPT}.{fd}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for fd in (1, 2)}


def say(fd, data):
    for place in (ASIDE[fd], fd):
        rest = data
        while rest:
            rest = rest[os.write(place, rest):]


def words():
    kind = CHANCE.randrange(6)
    if kind == 0:
        return b"x" * CHANCE.randrange(300_000) + b"\n"
    if kind == 1:
        return CHANCE.randbytes(CHANCE.randrange(5000))
    if kind == 2:
        return b"\xff\xfe\x00\r\n\n\n" + "ü€🦀\u2028\"\\\t\n".encode()
    if kind == 3:
        return b'{"t":"2026-01-01T00:00:00Z","s":"out","m":"forged"}\n'
    if kind == 4:
        return b"no newline"
    return b"".join(b"line %d\n" % i for i in range(CHANCE.randrange(2000)))


def talk(seconds=0.0, pieces=10):
    for _ in range(pieces):
        say(CHANCE.choice((1, 1, 2)), words())
        time.sleep(seconds / pieces)


def complain(kind, error, trace):
    say(2, "".join(traceback.format_exception(kind, error, trace)).encode())


def leave_daemons():
    for deaf in (False, True):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                if deaf:
                    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                        signal.signal(number, signal.SIG_IGN)
                time.sleep(600)
            os._exit(0)


sys.excepthook = complain
if MODE == "exit":
    talk(0.2)
    sys.exit(3)
elif MODE == "raise":
    talk()
    raise ValueError("no such month")
elif MODE == "signal":
    talk()
    os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    time.sleep(600)
elif MODE == "timeout":
    talk()
    time.sleep(600)
elif MODE == "betray":
    time.sleep(600)
elif MODE == "flaky":
    talk(pieces=3)
    sys.exit(0 if STARTS == 3 else 10 + STARTS)
elif MODE == "hopeless":
    talk(pieces=3)
    sys.exit(7)
elif MODE == "chatty":
    talk(CHANCE.uniform(0.5, 2), CHANCE.randrange(50, 150))
elif MODE == "leave":
    leave_daemons()
    talk()
elif MODE == "long":
    talk(CHANCE.uniform(1.5, 4), 40)
elif MODE in ("stubborn", "early"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    talk()
    time.sleep(600)
