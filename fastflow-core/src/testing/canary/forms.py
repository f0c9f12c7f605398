"""Says by which byte strings values show: reads and writes JSON with bytes in hexadecimal. Independent of what masks them."""

import base64
import json
import sys
from urllib.parse import quote, quote_plus


def percent(value):
    for safe in ("", "/"):
        for encode in (quote, quote_plus):
            text = encode(value, safe=safe).split("%")
            yield "%".join(text)
            yield "%".join([text[0]] + [part[:2].lower() + part[2:] for part in text[1:]])


def forms(value):
    yield "raw", value
    for shift in range(3):
        first, end = -(-8 * shift // 6), 8 * (shift + len(value)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(bytes(shift) + value)[first:end]
    yield "hex", value.hex().encode()
    yield "hex", value.hex().upper().encode()
    for text in percent(value):
        yield "percent", text.encode()
    yield "repr", repr(value)[2:-1].encode()
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    yield "json", json.dumps(text)[1:-1].encode()
    yield "json", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "repr", repr(text)[1:-1].encode()
    yield "repr", ascii(text)[1:-1].encode()


def terms(value):
    yield value
    lines = value.split(b"\n")
    if len(lines) > 1:
        # What begins and ends such a value is the same in all of them.
        yield from (line for line in lines if len(line) >= 8 and not line.startswith(b"-----"))


found = {
    name: sorted({(kind, form.hex()) for term in terms(bytes.fromhex(value)) for kind, form in forms(term)})
    for name, value in json.load(sys.stdin).items()
}
json.dump(found, sys.stdout)
