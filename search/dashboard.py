"""optuna-dashboard for one study, guarded and explained in words: python -m search.dashboard."""

from __future__ import annotations

import html
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

from trainers.cli import launch
from trainers.errors import InputError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    import plotly.graph_objects as go
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.spec import StudySpec

REFRESH_SECONDS = 3.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104
OWN_NOTE = "*Renewed as trials end; delete this line to keep words of your own.*"
ENDED_BECAUSE = {
    "patience": "validation loss had not fallen for as long as its patience allows",
    "ceiling": "training accuracy went above the ceiling",
    "epochs": "it had used all its epochs",
}
_logger = logging.getLogger(__name__)


def dashboard(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: Annotated[
        str | None, Parameter(help="Database URL. [default: study.db in the study's folder]")
    ] = None,
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
    opened = open_study(spec, path, storage_url=storage, create=False)
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
            f"({getattr(error, 'strerror', None) or error}); give another, such as --port {port + 1}"
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


def study_note(study: Study, spec: StudySpec, *, options: str | None = None) -> str:
    """Say in Markdown what a study is after, what it searches, how far it got and how to go on.

    Args:
        study: Finished or running.
        spec: What the study was asked for.
        options: With which a command finds the study again; absent means ``--study NAME``.
    """
    from search import results
    from search.report import count, describe_counts

    trials = study.get_trials(deepcopy=False)
    counts, best = count(trials), results.best_feasible(trials)
    shown = best or results.nearest_to_feasible(trials)
    missing = "No trial is feasible yet; nearest to it" if shown else "No trial has run to its end yet"
    headline = "Best feasible trial" if best else missing
    goal, ceiling = spec.goal.validation_accuracy, spec.score.ceiling
    is_met = best is not None and best.user_attrs["validation_accuracy"] >= goal
    searched = [
        f"{_words(k)} {_choices(v)}" for k, v in spec.fit.items() if not isinstance(v, int | float | str)
    ]
    options = options or f"--study {spec.name}"
    commands = [f"search.run {options} --trials {(counts['finished'] // 25 + 1) * 25}"]
    commands += [f"search.export {options}"] if best else []
    paragraphs = [
        f"**Goal** ({'met' if is_met else 'not met yet'}): validation accuracy of {100 * goal:g} % or more, "
        f"training accuracy under the ceiling of {100 * ceiling:g} %.",
        f"**Searched**: {_plain('; '.join(searched))}.",
        f"**{headline}**",
        *([trial_note(shown, spec)] if shown else []),
        f"**Trials**: {counts['finished']} finished: {_plain(describe_counts(counts))}.",
        "**Next**:",
        "\n".join(f"    python -m {command}" for command in commands),
        OWN_NOTE,
    ]
    return "\n\n".join(paragraphs)


def trial_note(trial: FrozenTrial, spec: StudySpec) -> str:
    """Say in Markdown what a finished trial was, what it reached, and why it ended."""
    from search.report import percent
    from search.results import excess

    attrs = trial.user_attrs
    name = f" (recipe {_plain(attrs['recipe'])})" if "recipe" in attrs else ""
    again = f" repeats trial {_plain(attrs['retry_of'])}" if "retry_of" in attrs else ""
    paragraphs = [f"Trial {trial.number}{name}{again}: {_plain(_settings(trial))}."]
    if trial.constraints:
        points, about = 100 * excess(trial), "" if attrs.get("training_exact", True) else "about "
        side = (
            f"**infeasible**, {points:.2f} points over"
            if points > 0
            else f"**feasible**, {-points:.2f} points under"
        )
        paragraphs.append(
            f"It reached {percent(attrs.get('validation_accuracy'))} validation at {about}"
            f"{percent(attrs.get('training_accuracy'))} training accuracy: {side} the ceiling of "
            f"{100 * spec.score.ceiling:g} %."
        )
    reason = str(attrs.get("reason", "no reason was recorded"))
    ended = {"PRUNED": "was pruned: ", "FAIL": "failed: "}.get(trial.state.name, "ended because ")
    paragraphs.append(f"It {ended}{_plain(ENDED_BECAUSE.get(reason, reason))}.")
    return "\n\n".join(paragraphs)  # short lines: the page of a trial is wide and scrolls sideways


def pareto_figure(study: Study, spec: StudySpec) -> go.Figure:
    """Draw validation over training accuracy: what is feasible, the ceiling, the front, the recipes."""
    import plotly.graph_objects as go

    from search import results

    trials = results.complete(study.get_trials(deepcopy=False))
    feasible = [t for t in trials if results.is_feasible(t)]
    front = results.pareto_front(trials)
    figure = go.Figure()
    for name, group, mode, symbol, color in (
        ("Pareto front", front, "lines", None, "#777777"),
        ("over the ceiling", [t for t in trials if t not in feasible], "markers+text", "x", "#b03a2e"),
        ("feasible", feasible, "markers+text", "circle", "#1f6fb2"),
    ):
        figure.add_scatter(
            x=[t.user_attrs["training_accuracy"] for t in group],
            y=[t.user_attrs["validation_accuracy"] for t in group],
            mode=mode,
            name=f"{name} ({len(group)})",
            marker={"symbol": symbol, "color": color, "size": 9},
            line={"color": color},
            text=[html.escape(str(t.user_attrs.get("recipe", ""))) for t in group],
            textposition="top left",  # where nothing lies beside a trial on the front
            hovertext=[html.escape(f"trial {t.number}, {_settings(t)}").replace(", ", "<br>") for t in group],
            hovertemplate="%{hovertext}<br>validation %{y:.2%}<br>training %{x:.2%}<extra></extra>",
        )
    ceiling = spec.score.ceiling
    widths = [t.user_attrs["training_accuracy"] for t in trials] + [ceiling]
    heights = [t.user_attrs["validation_accuracy"] for t in trials] + [spec.goal.validation_accuracy]
    room = 0.01 + 0.2 * (max(widths) - min(widths))  # for the names of recipes
    figure.add_scatter(
        x=[ceiling, ceiling],
        y=[min(heights), max(heights)],
        mode="lines",
        name=f"ceiling {100 * ceiling:g} %",
        line={"color": "#b03a2e", "dash": "dash"},
        hoverinfo="skip",
    )
    figure.update_layout(
        template=None,
        title={"text": "Validation over training accuracy", "x": 0.02},
        xaxis={
            "title": "training accuracy",
            "tickformat": ".1~%",
            "range": [min(widths) - room, max(widths) + room],
        },
        yaxis={"title": "validation accuracy", "tickformat": ".1~%"},
        legend={"orientation": "h", "y": -0.25},
        margin={"t": 60, "r": 20},
    )
    return figure


def _settings(trial: FrozenTrial) -> str:
    """Name what a trial searched, or what its recipe fixed of it."""
    from search.spec import SEARCHED

    chosen = {**trial.user_attrs.get("config", {}), **trial.params}
    return ", ".join(
        f"{_words(k)} {_short(chosen.get(k, 'none'))}" for k in dict.fromkeys((*SEARCHED, *trial.params))
    )


def _choices(setting: Any) -> str:
    if isinstance(setting, list):
        return ", ".join(map(_short, setting))
    return f"{_short(setting.low)} to {_short(setting.high)}{' (log)' if setting.log else ''}"


def _short(value: object) -> str:
    from search.report import rate

    if not isinstance(value, float):
        return str(value)
    return rate(value) if 0 < value < 0.01 else f"{value:.3g}"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(text: object) -> str:
    """Write a text on one line in which neither Markdown nor HTML finds anything to obey."""
    one_line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", one_line)


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
