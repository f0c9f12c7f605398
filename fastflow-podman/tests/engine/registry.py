"""A registry with one small image under several names, each with a fault of its own.

Prints its port and the digest of the image, and serves until its standard input ends.

open/image      anybody may have it
locked/image    only for the user `reader` with the password `open sesame`
broken/image    the connection is cut in the middle of its layer
silent/image    the layer begins, and nothing follows
"""

import base64, gzip, hashlib, http.server, io, json, os, sys, tarfile, threading


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer():
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        # Bytes that do not compress, so that there is a middle to cut at.
        content = os.urandom(200_000)
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return tar.getvalue()


TAR = layer()
LAYER = gzip.compress(TAR, mtime=0)
CONFIG = json.dumps({
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/bin", "GREETING=hello=world"]},
    "rootfs": {"type": "layers", "diff_ids": [digest(TAR)]},
}).encode()
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST = json.dumps({
    "schemaVersion": 2,
    "mediaType": MANIFEST_TYPE,
    "config": {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": len(CONFIG),
        "digest": digest(CONFIG),
    },
    "layers": [{
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "size": len(LAYER),
        "digest": digest(LAYER),
    }],
}).encode()
KEY = "Basic " + base64.b64encode(b"reader:open sesame").decode()


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            # As registries do that have public images as well.
            return self.refuse(401) if "Authorization" not in self.headers else self.answer(b"{}")
        name, kind, reference = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if name == "locked/image" and self.headers.get("Authorization") != KEY:
            return self.refuse(401)
        if name not in ("open/image", "locked/image", "broken/image", "silent/image"):
            return self.refuse(404)
        if kind == "manifests" and reference in ("1", digest(MANIFEST)):
            return self.answer(MANIFEST, MANIFEST_TYPE)
        if kind == "blobs" and reference == digest(CONFIG):
            return self.answer(CONFIG)
        if kind == "blobs" and reference == digest(LAYER):
            return self.blob(name)
        return self.refuse(404)

    def blob(self, name):
        if name not in ("broken/image", "silent/image"):
            return self.answer(LAYER)
        self.head(200, "application/octet-stream", len(LAYER))
        self.wfile.write(LAYER[: len(LAYER) // 2])
        self.wfile.flush()
        if name == "silent/image":
            threading.Event().wait()
        self.close_connection = True

    def head(self, status, kind, length):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if kind == MANIFEST_TYPE:
            self.send_header("Docker-Content-Digest", digest(MANIFEST))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.end_headers()

    def answer(self, body, kind="application/octet-stream", status=200):
        self.head(status, kind, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status):
        code = {401: "UNAUTHORIZED", 404: "MANIFEST_UNKNOWN"}[status]
        body = json.dumps({"errors": [{"code": code, "message": "no", "detail": None}]}).encode()
        self.answer(body, "application/json", status)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], digest(MANIFEST), flush=True)
sys.stdin.read()
