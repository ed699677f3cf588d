"""A stand-in for the part of the Hugging Face hub's HTTP API that reading and uploading a model need.

It is on the loopback, has Git's revisions and LFS, asks for a token where the hub would, and logs what it was asked.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN, READER = "hf_writes", "hf_reads"
LARGE = 4096  # bytes from which a file goes to LFS, besides .safetensors


class Repo:
    """commits: name of a commit -> {file: bytes}; branches: name -> commit."""

    def __init__(self, private=False):
        self.commits, self.branches, self.private, self.gated = {}, {}, private, False
        self.commit("main", {})

    def commit(self, branch, files):
        before = self.commits.get(self.branches.get(branch), {})
        name = hashlib.sha1(f"{len(self.commits)}{branch}{sorted(files)}".encode()).hexdigest()
        self.commits[name], self.branches[branch] = {**before, **files}, name
        return name

    def at(self, revision):
        name = self.branches.get(revision, revision)
        return (name, self.commits[name]) if name in self.commits else (None, {})


def etag(name, content):
    if is_large(name, content):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(name, content):
    return name.endswith((".safetensors", ".tar")) or len(content) > LARGE


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status=200, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: self.server.hub.sends] if self.server.hub.sends else body)

    def refuse(self, status, code, text="refused"):
        self.answer(status, {"error": text}, X_Error_Code=code, X_Error_Message=text)

    def handle_any(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.log.append((self.command, path, self.headers.get("Authorization")))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.command in ("POST", "PUT") and token != TOKEN and not path.startswith("/lfs/"):
            return self.refuse(401 if not token else 403, "", "this token may not write")
        if path.startswith("/lfs/"):
            hub.objects[path.removeprefix("/lfs/")] = body
            return self.answer()
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            hub.headers.append(json.loads(body)["content"])
            return self.answer(200, {"errors": [], "warnings": []})
        parts = path.strip("/").removeprefix("api/models/").split("/")
        name = "/".join(parts[:2]).removesuffix(".git")
        repo = hub.repos.get(name)
        if repo is None or (repo.private and token not in (TOKEN, READER)):
            return self.refuse(401 if not token else 404, "RepoNotFound", "Repository Not Found")
        if repo.gated and token != TOKEN and "resolve" in parts:
            return self.refuse(403, "GatedRepo", "Access to this model is restricted")
        return self.of_repo(name, repo, parts[2:], body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        if name in self.server.hub.repos:
            return self.answer(409, {"error": "You already created it", "url": f"{self.server.hub.url}/{name}"})
        self.server.hub.repos[name] = Repo(bool(wanted.get("private") or wanted.get("visibility") == "private"))
        return self.answer(200, {"url": f"{self.server.hub.url}/{name}"})

    def of_repo(self, name, repo, parts, body):
        if parts[:1] == ["info"]:  # LFS
            objects = [
                {**wanted, "actions": {"upload": {"href": f"{self.server.hub.url}/lfs/{wanted['oid']}"}}}
                for wanted in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        parts = parts or ["revision", "main"]
        if parts[0] == "branch":
            if parts[1] in repo.branches:
                return self.refuse(409, "", "exists")
            repo.branches[parts[1]] = repo.branches["main"]
            return self.answer(200, {})
        revision = parts[1] if len(parts) > 1 else "main"
        commit, files = repo.at(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if parts[0] == "preupload":
            wanted = json.loads(body)["files"]
            large = lambda file: is_large(file["path"], b" " * file["size"])
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if large(f) else "regular", "shouldIgnore": False, "oid": None}
                for f in wanted
            ]
            return self.answer(200, {"files": modes})
        if parts[0] == "commit":
            return self.commit(name, repo, revision, body)
        if parts[0] == "tree":
            return self.answer(200, [self.entry(file, content) for file, content in files.items()])
        if parts[0] == "resolve":
            return self.file(commit, files, "/".join(parts[2:]))
        return self.answer(200, {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]})

    def entry(self, file, content):
        entry = {"type": "file", "path": file, "size": len(content), "oid": etag(file, content)}
        return (
            {**entry, "lfs": {"oid": etag(file, content), "size": len(content), "pointerSize": 130}}
            if is_large(file, content)
            else entry
        )

    def file(self, commit, files, file):
        if file not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        content = files[file]
        sent = self.server.hub.spoils.get(file, content)
        tag = etag(file, content)
        linked = {"X_Linked_Etag": f'"{tag}"', "X_Linked_Size": str(len(content))} if is_large(file, content) else {}
        return self.answer(200, sent, X_Repo_Commit=commit, ETag=f'"{tag}"', Accept_Ranges="bytes", **linked)

    def commit(self, name, repo, revision, body):
        added = {}
        for line in body.decode().splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                added[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            elif row["key"] == "lfsFile":
                added[row["value"]["path"]] = self.server.hub.objects[row["value"]["oid"]]
        commit = repo.commit(revision, added)
        url = f"{self.server.hub.url}/{name}/commit/{commit}"
        return self.answer(200, {"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})


class Hub:
    """repos by name; objects of LFS by digest; headers of the cards that were checked; log of (method, path, token).

    spoils: file -> bytes that are sent in place of its content. sends: bytes of an answer after which the connection
    ends; 0: all.
    """

    def __init__(self):
        self.repos, self.objects, self.headers, self.log, self.spoils, self.sends = {}, {}, [], [], {}, 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.hub, self.server.daemon_threads = self, True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def downloads(self):
        """Files that were sent, in order."""
        return [
            path.split("/resolve/")[1].split("/", 1)[1]
            for how, path, _ in self.log
            if how == "GET" and "/resolve/" in path
        ]
