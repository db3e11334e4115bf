"""A pretended hub of models on loopback, which speaks as much HTTP as sending and fetching a model needs."""

# ruff: noqa: ARG001  # every answer takes the same arguments

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from huggingface_hub import ModelCardData
from huggingface_hub.repocard import RepoCard

TOKEN = "hf_PretendedTokenOfAlice"
LARGE = (".safetensors", ".onnx")


class Hub:
    """What the hub knows.

    Attributes:
        files: Content of each repository, by its name and that of the file.
        private: Whether a repository is, by its name.
        refuse: What to answer instead, by the start of ``METHOD /path``: a status and a message, or None to hang up after
            half of the request.
        seen: All requests: method, path and headers.
    """

    def __init__(self):
        self.files, self.private, self.refuse, self.seen, self.large = {}, {}, {}, [], {}
        self.num_commits = 0

    def create(self, name, *, private=True, **files):
        self.private[name] = private
        self.files[name] = {".gitattributes": b"*.safetensors filter=lfs\n", **files}


@contextmanager
def pretended():
    """Run a hub with one user, alice, until the end of the block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self):
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        what = f"{self.command} {path}"
        hub.seen.append((self.command, path, dict(self.headers)))
        refused = [answer for start, answer in hub.refuse.items() if what.startswith(start)]
        if refused and refused[0] is None:
            self.rfile.read(length // 2)
            self.close_connection = True
            return None
        body = self.rfile.read(length)
        if refused:
            return self._send(refused[0][0], {"error": refused[0][1]})
        signed = path.startswith("/signed/")
        if not signed and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid username or password."})
        for pattern, answer in ANSWERS:
            found = re.fullmatch(pattern, what)
            if found:
                return self._send(*answer(hub, body, **found.groupdict()))
        return self._send(404, {"error": f"no such place: {what}"})

    def _send(self, status, content, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _who(hub, body):
    return 200, {"name": "alice", "type": "user", "orgs": []}


def _info(hub, body, repo, revision=None):
    if repo not in hub.files:
        return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
    files = [{"rfilename": name} for name in hub.files[repo]]
    return 200, {"id": repo, "private": hub.private[repo], "sha": "1" * 40, "siblings": files}


def _create(hub, body):
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    if asked["organization"] != "alice":
        return 403, {"error": f"You don't have the rights to create a model under {asked['organization']}"}
    if name in hub.files:
        return 409, {"error": "You already created this model repo"}
    hub.create(name, private=asked.get("visibility") == "private")
    return 200, {"url": f"{hub.address}/{name}", "name": name}


def _validate(hub, body):
    try:
        data = RepoCard(json.loads(body)["content"], ignore_metadata_errors=False).data
        ModelCardData(**data.to_dict(), ignore_metadata_errors=False)
    except (TypeError, ValueError, KeyError) as error:
        return 400, {"errors": [{"message": str(error)}], "warnings": []}
    return 200, {"errors": [], "warnings": []}


def _preupload(hub, body, repo):
    files = json.loads(body)["files"]
    return 200, {
        "files": [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular"}
            | {"shouldIgnore": False}
            for f in files
        ]
    }


def _batch(hub, body, repo):
    def action(wanted):
        upload = {"href": f"{hub.address}/signed/{wanted['oid']}?signature=secret"}
        return {**wanted, "actions": {"upload": upload, "verify": {"href": f"{hub.address}/verify"}}}

    return 200, {"transfer": "basic", "objects": [action(o) for o in json.loads(body)["objects"]]}


def _put(hub, body, oid):
    hub.large[oid] = body
    return 200, b""


def _verify(hub, body):
    asked = json.loads(body)
    content = hub.large.get(asked["oid"], b"")
    is_whole = hashlib.sha256(content).hexdigest() == asked["oid"] and len(content) == asked["size"]
    return (200 if is_whole else 422), {}


def _commit(hub, body, repo):
    files = {}
    for line in body.splitlines():
        item = json.loads(line)
        value = item["value"]
        if item["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif item["key"] == "lfsFile":
            files[value["path"]] = hub.large[value["oid"]]
    hub.files[repo] |= files
    hub.num_commits += 1
    return 200, {"commitUrl": f"{hub.address}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40}


def _tree(hub, body, repo):
    return 200, [
        {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
        for name, content in hub.files[repo].items()
    ]


def _resolve(hub, body, repo, name):
    if name not in hub.files.get(repo, {}):
        return 404, b"", {"X-Error-Code": "EntryNotFound"}
    content = hub.files[repo][name]
    return 200, content, {"X-Repo-Commit": "1" * 40, "ETag": f'"{_etag(content)}"'}


def _etag(content):
    return hashlib.sha1(content).hexdigest()


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ANSWERS = (
    ("GET /api/whoami-v2", _who),
    (f"GET /api/models/{REPO}", _info),
    (f"GET /api/models/{REPO}/revision/(?P<revision>.*)", _info),
    (f"GET /api/models/{REPO}/tree/[^/]*", _tree),
    ("POST /api/repos/create", _create),
    ("POST /api/validate-yaml", _validate),
    (f"POST /api/models/{REPO}/preupload/main", _preupload),
    (rf"POST /{REPO}\.git/info/lfs/objects/batch", _batch),
    ("PUT /signed/(?P<oid>[0-9a-f]{64})", _put),
    ("POST /verify", _verify),
    (f"POST /api/models/{REPO}/commit/main", _commit),
    (f"(?:GET|HEAD) /{REPO}/resolve/[^/]*/(?P<name>.*)", _resolve),
)
