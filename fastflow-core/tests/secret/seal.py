# Sealing, written after the documentation of `Envelope` alone, on Python's `cryptography`. Reads calls, a line each.
import base64
import hashlib
import hmac
import json
import os
import sys

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(key, salt, info, length=32):
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def key_id(key):
    return derive(base64.b64decode(key), None, b"fastflow/master-key-id/v1", 16).hex()


def text(value):
    value = value.encode()
    return len(value).to_bytes(8, "big") + value


def associated(header, purpose):
    if "pipeline" in purpose:
        return header + b"\x02" + text(purpose["pipeline"]) + text(purpose["variable"])
    names = text(purpose["instance"]) + text(purpose["scope"]) + text(purpose["name"])
    return header + b"\x01" + names + purpose["version"].to_bytes(4, "big")


def seal(key, purpose, value, random=None):
    random = os.urandom(44) if random is None else bytes.fromhex(random)
    header = b"\x01" + bytes.fromhex(key_id(key)) + random[:32]
    own = derive(base64.b64decode(key), random[:32], b"fastflow/secret/v1")
    sealed = AESGCM(own).encrypt(random[32:], value.encode(), associated(header, purpose))
    return (header + random[32:] + sealed).hex()


def unseal(key, purpose, envelope):
    envelope = bytes.fromhex(envelope)
    header, nonce, sealed = envelope[:49], envelope[49:61], envelope[61:]
    if header[:17] != b"\x01" + bytes.fromhex(key_id(key)):
        return None
    own = derive(base64.b64decode(key), header[17:], b"fastflow/secret/v1")
    try:
        return AESGCM(own).decrypt(nonce, sealed, associated(header, purpose)).decode()
    except InvalidTag:
        return None


def seal_text(key, purpose, value):
    envelope = bytes.fromhex(seal(key, purpose, value))
    return "ff1." + base64.urlsafe_b64encode(envelope).decode().rstrip("=")


def unseal_text(key, purpose, value):
    encoded = value.removeprefix("ff1.")
    return unseal(key, purpose, base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).hex())


def fernet_key():
    return Fernet.generate_key().decode()


def fernet(key, value, at=None):
    value = bytes.fromhex(value)
    return (Fernet(key).encrypt(value) if at is None else Fernet(key).encrypt_at_time(value, at)).decode()


def fernet_of_blocks(key, blocks):
    """A token that is signed as it should be, whatever is in it."""
    secret = base64.urlsafe_b64decode(key)
    start = os.urandom(16)
    encryptor = Cipher(algorithms.AES(secret[16:]), modes.CBC(start)).encryptor()
    signed = b"\x80" + bytes(8) + start + encryptor.update(bytes.fromhex(blocks)) + encryptor.finalize()
    return base64.urlsafe_b64encode(signed + hmac.digest(secret[:16], signed, hashlib.sha256)).decode()


for line in sys.stdin:
    call = json.loads(line)
    print(json.dumps(globals()[call["function"]](**call["arguments"])), flush=True)
