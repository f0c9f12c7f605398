"""A small image registry, started in a container on the engine's own network.

It makes one image of one layer out of the repository's name, and what the name begins with says how it behaves:

    open/...    gives the image to everybody
    slow/...    gives the layer in pieces, with pauses
    cut/...     breaks off in the middle of the image's description
    stuck/...   stops in the middle of the layer, and keeps the connection
    broken/...  fails with 500

Everything else is not there. A second registry has the same, and wants USER and PASSWORD for all of it. The ports of
both go into the file PORT_FILE, as "PORT PORT".
"""

import base64, functools, gzip, hashlib, io, json, os, random, sys, tarfile, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT_FILE, USER, PASSWORD = sys.argv[1:]
AUTH = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
LAYER_BYTES = 3_000_000


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@functools.cache
def blobs(name):
    """The manifest of a repository, and all that it refers to by digest."""
    # Noise, so that it cannot be compressed and takes its time.
    noise = random.Random(name).randbytes(LAYER_BYTES)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo("noise")
        info.size = len(noise)
        tar.addfile(info, io.BytesIO(noise))
    tar = file.getvalue()
    layer = gzip.compress(tar, compresslevel=1, mtime=0)
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin", f"NAME={name}"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar)]},
    }).encode()
    docker = "application/vnd.docker."
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": docker + "distribution.manifest.v2+json",
        "config": {"mediaType": docker + "container.image.v1+json", "size": len(config), "digest": sha256(config)},
        "layers": [{"mediaType": docker + "image.rootfs.diff.tar.gzip", "size": len(layer), "digest": sha256(layer)}],
    }).encode()
    return manifest, {sha256(config): config, sha256(layer): layer, sha256(manifest): manifest}


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body=b"{}", kind="application/json", **headers):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.send(body)

    def send(self, body):
        how = self.path.split("/")[2] if "/blobs/" in self.path else ""
        if how == "cut" and len(body) < LAYER_BYTES:
            self.close_connection = True
            body = body[:len(body) // 2]
        if how not in ("slow", "stuck") or len(body) < LAYER_BYTES:
            self.wfile.write(body)
            return
        for start in range(0, len(body), len(body) // 10 + 1):
            if start and how == "stuck":
                threading.Event().wait()
            self.wfile.write(body[start:start + len(body) // 10 + 1])
            self.wfile.flush()
            time.sleep(0.15)

    def error(self, code, word, **headers):
        self.answer(code, json.dumps({"errors": [{"code": word, "message": word.lower()}]}).encode(), **headers)

    def do_GET(self):
        if self.server.is_closed and self.headers.get("Authorization") != AUTH:
            return self.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="test"')
        if self.path == "/v2/":
            return self.answer(200)
        parts = self.path.split("/")
        name, what, reference = "/".join(parts[2:-2]), parts[-2], parts[-1]
        how = name.split("/")[0]
        if how == "broken":
            return self.error(500, "UNKNOWN")
        if how not in ("open", "slow", "cut", "stuck"):
            return self.error(404, "NAME_UNKNOWN")
        manifest, found = blobs(name)
        if what == "manifests":
            if reference not in ("latest", "v1", sha256(manifest)):
                return self.error(404, "MANIFEST_UNKNOWN")
            kind = json.loads(manifest)["mediaType"]
            return self.answer(200, manifest, kind, Docker_Content_Digest=sha256(manifest))
        if reference not in found:
            return self.error(404, "BLOB_UNKNOWN")
        return self.answer(200, found[reference], "application/octet-stream")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def serve(is_closed):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.daemon_threads = True
    server.is_closed = is_closed
    threading.Thread(target=server.serve_forever).start()
    return str(server.server_port)


ports = serve(False) + " " + serve(True)
with open(PORT_FILE + ".new", "w") as file:
    file.write(ports)
os.rename(PORT_FILE + ".new", PORT_FILE)
