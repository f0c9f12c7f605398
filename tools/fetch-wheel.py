"""Fetches the newest wheel of a package that runs here, and unpacks it. For machines without pip.

Usage: fetch-wheel.py PACKAGE DIRECTORY

Looks where pip would: PIP_INDEX_URL, the files of pip's configuration, PyPI. Proxies of the environment apply.
"""

import configparser
import hashlib
import html.parser
import io
import os
import pathlib
import platform
import re
import ssl
import sys
import sysconfig
import urllib.parse
import urllib.request
import zipfile

DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_SECONDS = 60
WHEEL_MAX_BYTES = 200 * 1024 * 1024


def setting(name):
    """What pip would take for an option: its variable, else the last configuration file that sets it."""
    value = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if value:
        return value
    home = pathlib.Path.home()
    config_home = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", home / ".pip/pip.conf"]
    files.append(pathlib.Path(config_home) / "pip/pip.conf")
    if os.environ.get("PIP_CONFIG_FILE"):
        files.append(os.environ["PIP_CONFIG_FILE"])
    parser = configparser.RawConfigParser()
    parser.read([str(file) for file in files])
    return parser.get("global", name, fallback=None)


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "a" and values.get("href") and "data-yanked" not in values:
            self.found.append(values["href"])


def fetch(url):
    context = ssl.create_default_context(cafile=setting("cert") or None)
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context) as answer:
        content = answer.read(WHEEL_MAX_BYTES + 1)
    if len(content) > WHEEL_MAX_BYTES:
        raise SystemExit(f"{url} is larger than {WHEEL_MAX_BYTES} bytes")
    return content


def runs_here(platform_tags):
    """How well a wheel's platform fits: 0 is not at all, the newest C library that is there is best."""
    machine = platform.machine().lower()
    libc, version = platform.libc_ver()
    is_glibc = libc == "glibc"
    best = 0
    for tag in platform_tags.split("."):
        if tag == "any":
            best = max(best, 1)
        if not tag.endswith("_" + machine):
            continue
        if sys.platform == "darwin":
            best = max(best, 2 if tag.startswith("macosx") else 0)
        wanted = re.match(r"(manylinux|musllinux)_(\d+)_(\d+)_", tag)
        old = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}
        needed = next((need for start, need in old.items() if tag.startswith(start)), None)
        if wanted and wanted.group(1) == "manylinux":
            needed = (int(wanted.group(2)), int(wanted.group(3)))
        if needed and is_glibc and needed <= tuple(int(part) for part in version.split(".")[:2]):
            best = max(best, 3)
        if wanted and wanted.group(1) == "musllinux" and "musl" in (sysconfig.get_config_var("SOABI") or ""):
            best = max(best, 3)
    return best


def main():
    package, directory = sys.argv[1:]
    page = (setting("index-url") or DEFAULT_INDEX).rstrip("/") + f"/{package}/"
    links = Links()
    links.feed(fetch(page).decode("utf-8", "replace"))
    candidates = []
    for link in links.found:
        url, _, fragment = urllib.parse.urljoin(page, link).partition("#")
        name = urllib.parse.unquote(url.rsplit("/", 1)[-1])
        if not name.endswith(".whl"):
            continue
        _, version, *_, tags = name[: -len(".whl")].split("-")
        if re.fullmatch(r"\d+(\.\d+)*", version) and runs_here(tags):
            order = tuple(int(part) for part in version.split("."))
            candidates.append((order, runs_here(tags), url, fragment))
    if not candidates:
        raise SystemExit(f"{page} has no wheel of {package} for this machine")
    _, _, url, fragment = max(candidates)
    wheel = fetch(url)
    if fragment.startswith("sha256=") and hashlib.sha256(wheel).hexdigest() != fragment[len("sha256=") :]:
        raise SystemExit(f"{url} is not what the index says it is")
    target = pathlib.Path(directory)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for entry in archive.infolist():
            scripts = re.fullmatch(r"[^/]+\.data/scripts/([^/]+)", entry.filename)
            path = target / "bin" / scripts.group(1) if scripts else target / entry.filename
            if ".." in pathlib.PurePosixPath(entry.filename).parts or entry.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(entry))
            path.chmod(0o755 if scripts else 0o644)


if __name__ == "__main__":
    main()
