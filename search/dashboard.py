"""optuna-dashboard for one study, guarded and explained in words: python -m search.dashboard."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from search.credentials import StorageOption, chosen_url
from search.notes import OWN_NOTE, pareto_figure, study_note, trial_note
from trainers.cli import launch
from trainers.errors import InputError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.spec import StudySpec

REFRESH_SECONDS = 3.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104
_logger = logging.getLogger(__name__)


def dashboard(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: StorageOption = None,
    host: Annotated[str, Parameter(help="Address to listen on; there is no password.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes any free one.")] = 8080,
    writable: Annotated[bool, Parameter(negative=(), help="Let the page change and delete studies.")] = False,
) -> int:
    """Show a study in the browser, running or finished, until Ctrl-C."""
    from search.report import command_options
    from search.spec import find_study, load_spec
    from search.storage import open_study

    path = find_study(study)
    spec = load_spec(path)
    opened = open_study(spec, path, storage_url=chosen_url(storage), create=False)
    stop = threading.Event()
    arguments = (opened, spec, stop, command_options(study, storage))
    follower = threading.Thread(target=follow, args=arguments, daemon=True)
    with make_server(opened, host=host, port=port, writable=writable) as server:
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            follower.start()
            if host not in LOOPBACK:
                _say(f"Warning: there is no password, and {host} may be within reach of other machines.")
            shown = _authority(LOOPBACK[0] if host in WILDCARDS else host, server.server_port)
            _say(f"Study {spec.name}: http://{shown}/ (Ctrl-C ends it)")
            server.serve_forever()
        except KeyboardInterrupt:
            _say("Stopped.")
        finally:
            stop.set()
            follower.join(timeout=REFRESH_SECONDS)
            signal.signal(signal.SIGTERM, previous)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m search.dashboard``."""
    return launch(dashboard, name="search.dashboard", argv=argv)


def make_server(study: Study, *, host: str, port: int, writable: bool) -> WSGIServer:
    """Bind the guarded dashboard of a study's storage to an address, not serving yet.

    Raises:
        InputError: The address cannot be listened on.
    """
    import socketserver
    from wsgiref import simple_server

    import optuna_dashboard

    class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Handler(simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing: the page asks every few seconds."""

    try:
        server = Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host and --port must be an address of this machine and a free port, got {host} and {port} "
            f"({getattr(error, 'strerror', None) or error}); give another, such as --port 0 for any free one"
        ) from error
    app = optuna_dashboard.wsgi(_best_is_feasible(study._storage))
    server.set_app(guard(app, host=host, port=server.server_port, writable=writable))
    return server


def guard(app: WSGIApplication, *, host: str, port: int, writable: bool) -> WSGIApplication:
    """Let through to ``app`` only requests to this server, from its own pages, that do not write.

    optuna-dashboard 0.21 checks neither Host nor Origin: a foreign page whose name is made to resolve to
    this machine (DNS rebinding) could read and delete studies.
    """
    methods = ("GET", "HEAD", *(("DELETE", "PATCH", "POST", "PUT") if writable else ()))
    ours = {_authority(name, port) for name in (host, *LOOPBACK)}
    # Rebinding needs a name: where the server listens on every address, each address as such is safe.
    address = re.compile(rf"([0-9.]+|\[[0-9a-f:.]+\]){f':{port}' if port != 80 else ''}")

    def is_ours(authority: str) -> bool:
        name = authority.lower()
        return name in ours or (host in WILDCARDS and bool(address.fullmatch(name)))

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        here = f"must be this server's own, such as localhost:{port}"
        status = "403 Forbidden"
        if not is_ours(asked):
            reason = f"Host {here}, got {asked!r}; open that address"
        elif origin is not None and not (origin.startswith("http://") and is_ours(origin[7:])):
            reason = f"Origin {here}, got {origin!r}; use the page at that address"
        elif environ["REQUEST_METHOD"] not in methods:
            status = "405 Method Not Allowed"
            remedy = (
                "use one of them" if writable else "start search.dashboard with --writable to change studies"
            )
            reason = f"only {', '.join(methods)} are answered, got {environ['REQUEST_METHOD']}; {remedy}"
        else:
            return app(environ, start_response)
        is_api = environ.get("PATH_INFO", "").startswith("/api/")  # there the page shows a JSON reason
        kind = "application/json" if is_api else "text/plain; charset=utf-8"
        headers = {"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Allow": ", ".join(methods)}
        start_response(status, list(headers.items()))
        return [(json.dumps({"reason": reason}) if is_api else f"{reason}\n").encode()]

    return guarded


def follow(study: Study, spec: StudySpec, stop: threading.Event, options: str | None = None) -> None:
    """Bring the dashboard in step whenever a trial began or ended, until ``stop``; database errors pass."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    seen = None
    while True:
        try:
            states = [t.state for t in study.get_trials(deepcopy=False)]
            if states != seen:
                bring_in_step(study, spec, options=options)
                seen = states
        except (SQLAlchemyError, StorageInternalError, KeyError) as error:  # KeyError: the study was deleted
            _logger.warning("notes and picture wait for the database: %s", type(error).__name__)
        if stop.wait(REFRESH_SECONDS):
            return


def bring_in_step(study: Study, spec: StudySpec, *, options: str | None = None) -> None:
    """Write what the dashboard shows beside Optuna's own data; a note that a user wrote stays."""
    from optuna_dashboard import save_plotly_graph_object
    from optuna_dashboard._named_objectives import SYSTEM_ATTR_METRIC_NAMES

    # The public save_note takes no finished trial, and reads all attributes of the study for each note.
    from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version

    storage, study_id = study._storage, study._study_id
    attrs = storage.get_study_system_attrs(study_id)
    if SYSTEM_ATTR_METRIC_NAMES not in attrs:  # study.set_metric_names warns that it is experimental
        storage.set_study_system_attr(study_id, SYSTEM_ATTR_METRIC_NAMES, ["score"])
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    notes: dict[int | None, str] = {t._trial_id: trial_note(t, spec) for t in ended}
    notes[None] = study_note(study, spec, options=options)
    for trial_id, body in notes.items():
        note = get_note_from_system_attrs(attrs, trial_id)
        if not note["body"] or (OWN_NOTE in note["body"] and note["body"] != body):
            save_note_with_version(storage, study_id, trial_id, note["version"] + 1, body)
    save_plotly_graph_object(study, pareto_figure(study, spec), graph_object_id="pareto-front")


def _authority(host: str, port: int) -> str:
    """Write host and port as a browser does: IPv6 in brackets, port 80 left out."""
    name = f"[{host}]" if ":" in host else host
    return (name if port == 80 else f"{name}:{port}").lower()


def _best_is_feasible(storage: BaseStorage) -> BaseStorage:
    """Let what the page calls the best trial be the best feasible one, where there is one."""
    from search.results import best_feasible

    plain = storage.get_best_trial

    def get_best_trial(study_id: int) -> FrozenTrial:
        return best_feasible(storage.get_all_trials(study_id, deepcopy=False)) or plain(study_id)

    storage.get_best_trial = get_best_trial  # type: ignore[method-assign]
    return storage


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
