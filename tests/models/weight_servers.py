"""Servers on this machine that stand in for the hub and for an author's download page."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content: Any

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serving(handler: type[Handler], content: Any) -> Iterator[str]:
    """Run a server as long as the context lasts; gives its address."""
    with serving_by(type("Bound", (handler,), {"content": content})) as address:
        yield address


@contextmanager
def serving_by(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The same, by what answers a request."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Page:
    """One file on an author's server, at every address.

    Attributes:
        breaks_after: bytes of an answer after which the connection is closed.
        ranges: whether the server can begin in the middle.
        stalls: say nothing more after ``breaks_after``, but keep the connection.
        tag: of this version of the file; with another one the server begins at 0.
        starts: where each answer began.
    """

    body: bytes
    breaks_after: int | None = None
    ranges: bool = True
    stalls: bool = False
    tag: str | None = None
    starts: list[int] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class PageHandler(Handler):
    content: Page

    def do_HEAD(self) -> None:
        self.reply(200, b"", {}, len(self.content.body))

    def do_GET(self) -> None:
        page = self.content
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        other = self.headers.get("If-Range", page.tag) != page.tag
        start = int(asked[1]) if asked and page.ranges and not other else 0
        page.starts.append(start)
        rest = page.body[start:]
        if start and not rest:
            self.reply(416, b"", {"Content-Range": f"bytes */{len(page.body)}"}, 0)
            return
        self.close_connection = True
        headers = {"ETag": page.tag} if page.tag else {}
        if start:
            last, total = len(page.body) - 1, len(page.body)
            headers["Content-Range"] = f"bytes {start}-{last}/{total}"
        self.reply(206 if start else 200, rest[: page.breaks_after], headers, len(rest))
        if page.stalls:
            self.wfile.flush()
            page.released.wait(10)


@dataclass
class Hub:
    """Repositories by id, each a mapping from file names to contents.

    Attributes:
        large: suffixes of files that lie in large file storage.
        fetched: names of the files that were downloaded.
    """

    repositories: dict[str, dict[str, bytes]]
    large: tuple[str, ...] = (".safetensors", ".bin")
    fetched: list[str] = field(default_factory=list)


class HubHandler(Handler):
    """As much of the hub's HTTP interface as its client asks for."""

    content: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", path):
            self.describe(found[1])
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/.+", path):
            self.list_files(found[1])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self.send_file(found[1], found[2])
        else:
            self.json([], 404)

    def json(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.reply(status, body, {"Content-Type": "application/json"}, len(body))

    def describe(self, repository: str) -> None:
        files = [{"rfilename": name} for name in self.content.repositories[repository]]
        self.json({"id": repository, "sha": COMMIT, "siblings": files})

    def list_files(self, repository: str) -> None:
        files = self.content.repositories[repository]
        self.json([self.entry(name, body) for name, body in files.items()])

    def entry(self, name: str, body: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(body), "oid": "1" * 40}
        if name.endswith(self.content.large):
            digest = hashlib.sha256(body).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(body), "pointerSize": 134}
        return entry

    def send_file(self, repository: str, name: str) -> None:
        body = self.content.repositories[repository][name]
        digest = hashlib.sha256 if name.endswith(self.content.large) else hashlib.sha1
        headers = {"ETag": f'"{digest(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if self.command == "GET":
            self.content.fetched.append(name)
        self.reply(200, body, headers, len(body))
