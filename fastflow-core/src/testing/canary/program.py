import base64
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from urllib.parse import quote, quote_plus

MODE, CONTROL, ATTEMPT = os.environ["MODE"], os.environ["CONTROL"], int(os.environ["FASTFLOW_ATTEMPT"])
CHANCE = random.Random(int(os.environ["SEED"]) + ATTEMPT)
# A program that is killed within a secret leaves the beginning that it has said by then, and nobody can know what it was
# the beginning of. These say no more than this of one before the rest of it comes at once.
MAX_BEGINNING = 12
OUT, ERR = 1, 2


def secret(name):
    if name in os.environ:
        return os.environb[name.encode()]
    with open(os.path.join(os.environ["FASTFLOW_SECRETS_DIR"], name), "rb") as file:
        return file.read()


def write(fd, data):
    while data:
        data = data[os.write(fd, data):]


def forms(value):
    text = value.decode()
    yield value
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (encode(b"ab"[:shift] + value + b"yz"[:CHANCE.randrange(3)]) for shift in range(3))
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for encode in (quote, quote_plus):
        yield encode(text).encode()
        yield encode(text, safe="").encode()
    yield json.dumps({"value": text}).encode()
    yield json.dumps([text], ensure_ascii=False).encode()
    yield from (repr(text).encode(), ascii(text).encode(), repr(value).encode())


def say(name, value, form):
    # What was added by a line on one stream is not known yet where the other one is read first.
    fd = OUT if name == "ADDED" else CHANCE.choice((OUT, OUT, ERR))
    kind = CHANCE.randrange(4)
    if kind == 0:
        write(fd, form + b"\n")
    elif kind == 1:
        write(fd, b"\xff\xfe" + form + b"\xff\n")
    elif kind == 2:
        write(fd, b"no end of line: " + form)
    else:
        first = CHANCE.randrange(1, MAX_BEGINNING)
        write(fd, form[:first // 2])
        write(fd, form[first // 2:first])
        time.sleep(CHANCE.choice((0, 0.002)))
        write(fd, form[first:] + b"\n")


def say_all():
    everything = [(name, value, form) for name, value in VALUES.items() for form in forms(value)]
    CHANCE.shuffle(everything)
    for what in everything:
        yield say(*what)


def forever():
    while True:
        for _ in say_all():
            time.sleep(0.003)


def leave():
    texts = {name: value.decode() for name, value in VALUES.items()}
    with open(os.environ["FASTFLOW_OUTPUT_FILE"], "w") as file:
        json.dump({"control": CONTROL, "token": texts["SEALED"], "all": texts}, file)
    with open(os.environ["FASTFLOW_ROUTE_FILE"], "wb") as file:
        file.write(VALUES["STORED"])


def child():
    if os.fork() == 0:
        os.setsid()
        for _ in say_all():
            pass
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


VALUES = {name: secret(name) for name in ("STORED", "PEM", "EXTERNAL", "SEALED", "TOKEN")}
VALUES["ADDED"] = base64.b64encode(hashlib.sha256(b"added " + VALUES["STORED"]).digest())
write(OUT, f"control {CONTROL}\n".encode())
for name, value in VALUES.items():
    write(OUT, f"digest {name} {hashlib.sha256(value).hexdigest()}\n".encode())
write(OUT, b"::add-mask::" + VALUES["ADDED"] + b"\n")

if MODE in ("cancel", "deaf", "timeout", "kill", "monitor", "sandbox", "remove"):
    if MODE == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forever()
for _ in say_all():
    pass
leave()
if MODE == "raise":
    raise ValueError("nobody knows {STORED!r}, {PEM!r} and {EXTERNAL}".format(**{n: v.decode() for n, v in VALUES.items()}))
elif MODE == "command":
    subprocess.run(["/no/such/command/" + VALUES["STORED"].decode(), VALUES["TOKEN"].decode()])
elif MODE == "abort":
    os.abort()
elif MODE == "again":
    sys.exit(3 if ATTEMPT == 1 else 0)
elif MODE == "children":
    child()
print(VALUES["STORED"].decode(), end="")
