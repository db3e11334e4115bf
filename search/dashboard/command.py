"""optuna-dashboard for one study, guarded and explained in words: python -m search.dashboard."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from search.dashboard import dashboard_private
from search.dashboard.learning_curves import curves_figure
from search.dashboard.notes import OWN_NOTE, front_note, pareto_figure, study_note, trial_note
from search.dashboard.security import LOOPBACK, WILDCARDS, authority, guard, host_of
from search.storage import StorageOption
from search.terminal import say
from trainers.cli import launch
from trainers.config import METRIC_NAMES
from trainers.errors import InputError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.dashboard.artifacts import Store
    from search.study import StudySpec

REFRESH_SECONDS = 3.0

STALLED_SECONDS = 60
"""After so long without a byte a connection is given up, and its thread ends."""

_logger = logging.getLogger(__name__)


def dashboard(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: StorageOption = None,
    host: Annotated[str, Parameter(help="Address to listen on; there is no password.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes any free one.")] = 8080,
    writable: Annotated[bool, Parameter(negative=(), help="Let the page change and delete studies.")] = False,
    allow_host: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="Name under which a proxy shows the page, besides this server's own; may be repeated. [default: none]",
        ),
    ] = (),
) -> int:
    """Show a study in the browser, running or finished, until Ctrl-C."""
    _check_names(allow_host)
    from search.dashboard.artifacts import Store
    from search.report import command_options
    from search.study import open_named

    opened, spec, _ = found = open_named(study, storage)
    store = Store(found.folder / "artifacts")
    stop = threading.Event()
    arguments = (opened, spec, store, stop, command_options(study, storage))
    follower = threading.Thread(target=follow, args=arguments, daemon=True)
    with make_server(
        opened, store, host=host, port=port, writable=writable, allow_hosts=allow_host
    ) as server:
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            follower.start()
            if host not in LOOPBACK:
                say(f"Warning: there is no password, and {host} may be within reach of other machines.")
            shown = authority(LOOPBACK[0] if host in WILDCARDS else host, server.server_port)
            say(f"Study {spec.name}: http://{shown}/ (Ctrl-C ends it)")
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped.")
        finally:
            stop.set()
            follower.join(timeout=REFRESH_SECONDS)
            signal.signal(signal.SIGTERM, previous)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m search.dashboard``."""
    return launch(dashboard, name="search.dashboard", argv=argv)


def make_server(
    study: Study, store: Store, *, host: str, port: int, writable: bool, allow_hosts: Sequence[str] = ()
) -> WSGIServer:
    """Bind the guarded dashboard of a study's storage and files to an address, not serving yet.

    Raises:
        InputError: The address cannot be listened on.
    """
    import socketserver
    from wsgiref import simple_server

    import optuna_dashboard

    from search.dashboard.pareto_study import feasible_front
    from search.storage import optuna_private

    class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of a browser that hung up or stalled."""
            if not isinstance(sys.exc_info()[1], OSError):
                super().handle_error(request, client_address)

    class Handler(simple_server.WSGIRequestHandler):
        timeout = STALLED_SECONDS

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing: the page asks every few seconds."""

    try:
        server = Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host and --port must be an address of this machine and a free port, got {host} and {port} "
            f"({getattr(error, 'strerror', None) or error}); give another, such as --port 0 for any free one"
        ) from error
    dashboard_private.show_front_by(feasible_front)
    app = optuna_dashboard.wsgi(_best_is_feasible(optuna_private.storage_of(study)), artifact_store=store)
    server.set_app(guard(app, host=host, port=server.server_port, writable=writable, allow_hosts=allow_hosts))
    return server


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not name or host_of(authority(name, 80)) != name.lower():
            raise InputError(
                f"--allow-host must be the name of a machine, without scheme and port, got {name!r}; fix it"
            )


def follow(
    study: Study, spec: StudySpec, store: Store, stop: threading.Event, options: str | None = None
) -> None:
    """Bring the dashboard in step whenever a trial began or ended or a report was written, until ``stop``.

    Errors of the database and of the folder pass, and are told once: the page shows what there is.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from search.dashboard.artifacts import report_state

    seen, told = None, ""
    while True:
        try:
            now = [t.state for t in study.get_trials(deepcopy=False)], report_state(store.folder.parent)
            if now != seen:
                bring_in_step(study, spec, store, stop, options=options)
                seen, told = now, ""
        # KeyError: the study was deleted. InputError: the folder, or a database that stays away.
        except (SQLAlchemyError, StorageInternalError, KeyError, OSError, InputError) as error:
            if told != type(error).__name__:
                told = type(error).__name__
                _logger.warning("notes, pictures and front wait for database and folder: %s", told)
        if stop.wait(REFRESH_SECONDS):
            return


def bring_in_step(
    study: Study,
    spec: StudySpec,
    store: Store,
    stop: threading.Event | None = None,
    *,
    options: str | None = None,
) -> None:
    """Write what the dashboard shows beside Optuna's own data: notes, figures, front and files."""
    from search.dashboard.artifacts import keep_artifacts
    from search.dashboard.pareto_study import keep_front
    from search.storage import optuna_private

    _name_objectives(study, ["score"])
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    notes: dict[int | None, str] = {optuna_private.trial_id(t): trial_note(t, spec) for t in ended}
    _keep_notes(study, {None: study_note(study, spec, options=options), **notes})
    _keep_figures(study, spec)
    front = keep_front(study, spec)
    if front is not None:
        name = METRIC_NAMES[spec.score.metric]
        _name_objectives(front, [f"training {name}", f"validation {name}"])
        _keep_notes(front, {None: front_note(spec)})
    keep_artifacts(study, spec, store, stop)


def _name_objectives(study: Study, names: list[str]) -> None:
    from search.storage import optuna_private

    key = dashboard_private.objective_names_key()
    # study.set_metric_names warns that it is experimental.
    if key not in optuna_private.system_attributes(study):
        optuna_private.set_system_attribute(study, key, names)


def _keep_notes(study: Study, notes: dict[int | None, str]) -> None:
    """Renew notes on trials, by id, and on the study itself; a note that a user wrote stays."""
    from search.storage import optuna_private

    attrs = optuna_private.system_attributes(study)
    for trial_id, text in notes.items():
        before, version = dashboard_private.note_in(attrs, trial_id)
        if not before or (OWN_NOTE in before and before != text):
            dashboard_private.save_note(study, trial_id, text, version=version + 1)


def _keep_figures(study: Study, spec: StudySpec) -> None:
    """Renew the figures that have changed: they are long, and stored in many pieces."""
    from optuna_dashboard import save_plotly_graph_object

    from search.storage import optuna_private

    shown = dashboard_private.figures_in(optuna_private.system_attributes(study))
    for name, draw in (("pareto-front", pareto_figure), ("learning-curves", curves_figure)):
        figure = draw(study, spec)
        if shown.get(name) != figure.to_json():
            save_plotly_graph_object(study, figure, graph_object_id=name)


def _best_is_feasible(storage: BaseStorage) -> BaseStorage:
    """Let what the page calls the best trial be the best feasible one, where there is one."""
    from search.study import best_feasible

    plain = storage.get_best_trial

    def get_best_trial(study_id: int) -> FrozenTrial:
        return best_feasible(storage.get_all_trials(study_id, deepcopy=False)) or plain(study_id)

    storage.get_best_trial = get_best_trial  # type: ignore[method-assign]
    return storage
