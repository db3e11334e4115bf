"""What stands before optuna-dashboard 0.21, which checks neither Host nor Origin, and asks for no password."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[1-9][0-9]{0,4})?")
_ADDRESS = re.compile(r"[0-9.]+|[0-9a-f.]*:[0-9a-f:.]+")

DRAINED_BYTES = 2**20
"""How much of a refused body is read: unread, it would reset the connection before the reason is seen."""

PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""For every answer: a foreign page may neither frame it, to have its buttons clicked, nor embed parts of it."""

NOTHING = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
SCRIPTED = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
SANDBOX = {"text/html": f"sandbox allow-scripts; {SCRIPTED}"}
"""A report's figures need its own scripts, which get an origin of their own there and reach no address."""


def guard(
    app: WSGIApplication, *, host: str, port: int, writable: bool, allow_hosts: Collection[str] = ()
) -> WSGIApplication:
    """Let through to ``app`` only requests to this server, from its own pages, that do not write.

    Otherwise a foreign page whose name is made to resolve to this machine (DNS rebinding) could read and
    delete studies. Artifacts, whose kind the study says, are answered in a sandbox.

    Args:
        app: What is guarded.
        host: Address that the server listens on.
        port: Likewise. A forwarded port (``ssh -L``, ``docker -p``) is another one, so any is taken of a name that is ours.
        writable: Whether to let requests through that write.
        allow_hosts: Further names that are ours, such as that of a proxy, which may speak https.
    """
    methods = ("GET", "HEAD", *(("DELETE", "PATCH", "POST", "PUT") if writable else ()))
    allowed = {name.lower() for name in allow_hosts}
    ours = {host.lower(), *LOOPBACK, *allowed}
    at_our_port = {authority(name, port) for name in (host, *LOOPBACK)}

    def is_ours(asked: str) -> bool:
        name = host_of(asked)
        # Rebinding needs a name: where the server listens on every address, each address as such is safe.
        return name in ours or (host in WILDCARDS and bool(_ADDRESS.fullmatch(name)))

    def is_own_page(origin: str, asked: str) -> bool:
        scheme, _, place = origin.lower().partition("://")
        if host_of(place) in allowed:
            return scheme in ("http", "https")
        return scheme == "http" and (place == asked.lower() or place in at_our_port)

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        path = environ.get("PATH_INFO", "")
        here = f"must be this server's own, such as localhost:{port}, or one of --allow-host"
        status = "403 Forbidden"
        if not is_ours(asked):
            reason = f"Host {here}, got {asked!r}; open that address"
        elif origin is not None and not is_own_page(origin, asked):
            reason = f"Origin {here}, got {origin!r}; use the page at that address"
        elif environ["REQUEST_METHOD"] not in methods:
            status = "405 Method Not Allowed"
            remedy = (
                "use one of them" if writable else "start search.dashboard with --writable to change studies"
            )
            reason = f"only {', '.join(methods)} are answered, got {environ['REQUEST_METHOD']}; {remedy}"
        elif not path.startswith("/"):  # as to a proxy: GET http://elsewhere/
            status = "400 Bad Request"
            reason = f"the path must begin with /, got {path!r}; fix it"
        else:
            environ.pop("HTTP_X_FORWARDED_HOST", None)  # redirects would lead there
            return app(environ, _protected(start_response, path))
        _drain(environ)
        is_api = path.startswith("/api/")  # there the page shows a JSON reason
        kind = "application/json" if is_api else "text/plain; charset=utf-8"
        start_response(status, [*PROTECTION.items(), ("Content-Type", kind), ("Allow", ", ".join(methods))])
        return [(json.dumps({"reason": reason}) if is_api else f"{reason}\n").encode()]

    return guarded


def host_of(authority: str) -> str:
    """Return the name or address in front of a port, in lower case and without brackets; empty if there is none."""
    found = _AUTHORITY.fullmatch(authority.lower())
    return (found[1] or found[2]) if found else ""


def authority(host: str, port: int) -> str:
    """Write host and port as a browser does: IPv6 in brackets, port 80 left out."""
    name = f"[{host}]" if ":" in host else host
    return (name if port == 80 else f"{name}:{port}").lower()


def _protected(start_response: StartResponse, path: str) -> StartResponse:
    """Answer with headers that keep foreign pages, and what an artifact holds, away from the dashboard."""

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        # optuna-dashboard opens artifacts to every origin.
        kept = [(k, v) for k, v in headers if not k.lower().startswith("access-control-")]
        extra = dict(PROTECTION)
        if path.startswith("/artifacts/"):
            kind = next((v for k, v in headers if k.lower() == "content-type"), "")
            extra["Content-Security-Policy"] = SANDBOX.get(_media_type(kind), f"sandbox; {NOTHING}")
            extra["Cache-Control"] = "no-cache"
        return start_response(status, [*kept, *extra.items()], *exc_info)

    return start


def _media_type(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def _drain(environ: WSGIEnvironment) -> None:
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        environ["wsgi.input"].read(min(int(length), DRAINED_BYTES))
