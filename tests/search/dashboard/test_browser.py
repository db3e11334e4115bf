"""The dashboard as a user sees it: a real browser, a real search, finished and running."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from browser import open_browser, watch
from rich.console import Console
from served import serving

from search import run_study
from search.dashboard.artifacts import Store
from search.dashboard.command import bring_in_step, follow
from search.dashboard.pareto_study import keep_front
from search.study import results
from search.study.opening import open_study
from search.study.spec import load_spec
from search.trials.progress import Live

pytestmark = [
    pytest.mark.slow,
    # Of the page's parameter importances, where trials are few; an error would be a failed request.
    pytest.mark.filterwarnings("ignore:Target and region quantiles select the same set of trials"),
]
SECONDS = 1000
PATIENCE = 120 * SECONDS  # milliseconds; the machine may be busy
STILL = """
const still = new CSSStyleSheet();
still.replaceSync("* { animation: none !important; transition: none !important; }");
document.adoptedStyleSheets.push(still);
"""
"""What moves while a page waits keeps a processor busy."""


@pytest.fixture(scope="module")
def browser():
    with open_browser("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def context(browser):
    """One for all pages, which so read and compile the dashboard's scripts once."""
    context = browser.new_context(viewport={"width": 1280, "height": 2600})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(STILL)
    yield context
    context.close()


@pytest.fixture
def page(context):
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="module")
def shown(finished_study, tmp_path_factory):
    """A copy of a finished study, its files and its dashboard's port."""
    original, _ = finished_study
    folder = tmp_path_factory.mktemp("shown")
    shutil.copytree(original.parent, folder, dirs_exist_ok=True)
    path = folder / original.name
    spec = load_spec(path)
    study, store = open_study(spec, path), Store(folder / "tiny" / "artifacts")
    bring_in_step(study, spec, store)
    with serving(study, store) as port:
        yield study, spec, f"http://127.0.0.1:{port}/dashboard"


def test_the_list_shows_the_study_and_its_front_without_errors(shown, page):
    errors = watch(page)
    page.goto(shown[2])
    page.get_by_text("tiny (Pareto front)", exact=False).first.wait_for()
    assert errors == []


def test_the_study_page_shows_best_trial_figures_and_files_without_errors(shown, page):
    study, _, url = shown
    errors = watch(page)
    page.goto(f"{url}/studies/1")
    best = results.best_feasible(study.trials)
    page.get_by_text(f"Best Trial (number={best.number})").wait_for()
    page.get_by_text("Validation over training accuracy").wait_for()
    page.get_by_text("Learning curves: validation accuracy").wait_for()
    feasible = sum(map(results.is_feasible, results.complete(study.trials)))
    page.locator(".legendtext", has_text=f"feasible ({feasible})").first.wait_for()
    page.get_by_text("report.json").wait_for()
    picture = page.locator("img[alt='pareto.png']")
    picture.wait_for()
    assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") > 500
    assert errors == []


def test_a_trials_page_shows_its_note_curve_and_evaluations_without_errors(shown, page):
    study, _, url = shown
    trial = results.best_feasible(study.trials)
    errors = watch(page)
    page.goto(f"{url}/studies/1/trials?numbers={trial.number}")
    page.get_by_text(f"{len(study.trials)} Trials").wait_for()
    page.get_by_text("the ceiling of 100 %").wait_for()
    page.get_by_text("It ended because").wait_for()
    picture = page.locator(f"img[alt='trial-{trial.number}-curve.png']")
    picture.wait_for()
    assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") == 800
    page.get_by_text(f"trial-{trial.number}-evaluations.csv").wait_for()
    assert errors == []


def test_the_front_is_drawn_natively_with_every_checkpoint_without_errors(shown, page):
    study, spec, url = shown
    front = keep_front(study, spec)
    errors = watch(page)
    page.goto(f"{url}/studies/{front._study_id}")
    page.get_by_text("Pareto Front", exact=True).wait_for()
    page.wait_for_function(
        "n => (document.getElementById('graph-pareto-front')?.data ?? [])"
        ".reduce((sum, d) => sum + d.x.length, 0) === n",
        arg=len(front.trials),
    )
    assert page.evaluate("document.getElementById('graph-pareto-front').layout.xaxis.title?.text") in (
        None,
        "training accuracy",
    )
    assert errors == []


def test_a_foreign_name_is_refused_in_the_browser(shown, page):
    url = shown[2].replace("127.0.0.1", "evil.example")
    answer = page.goto(url)
    assert answer.status == 403
    assert "Host must be this server's own" in page.inner_text("body")


def test_a_report_page_among_the_files_runs_its_scripts_and_reaches_nothing(shown, page):
    study, spec, url = shown
    folder = study_folder(study)
    script = (
        "fetch('/api/studies').then(() => document.title = 'reached', () => document.title = 'kept away');"
        "try { localStorage.x = 1 } catch { document.body.append('no storage') }"
    )
    (folder / "report.html").write_text(f"<title>new</title><body>hello<script>{script}</script>")
    store = Store(folder / "artifacts")
    bring_in_step(study, spec, store)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    (key,) = [k for k, v in attrs.items() if k.startswith("artifacts:") and "report.html" in v]
    page.goto(url.replace("/dashboard", f"/artifacts/1/{key.removeprefix('artifacts:')}"))
    page.wait_for_function("document.title !== 'new'")
    assert page.title() == "kept away"
    assert page.inner_text("body") == "hellono storage"


@pytest.fixture
def pause(monkeypatch):
    """Two events: one is set once a search has had two trials, which then waits for the other."""
    reached, go = threading.Event(), threading.Event()
    trial_ended = Live.trial_ended

    def ended(live, trial, trials):
        trial_ended(live, trial, trials)
        if trial.number == 1:
            reached.set()
            assert go.wait(PATIENCE / SECONDS)

    monkeypatch.setattr(Live, "trial_ended", ended)
    yield reached, go
    go.set()


@pytest.mark.usefixtures("tiny_reviews", "plain_report")
def test_the_page_changes_while_the_search_runs(write_tiny_study, tmp_path, page, pause):
    path = write_tiny_study(tmp_path, ("[cache]", "[recipes]\nenqueue = []\n\n[cache]"))
    reached, go = pause
    searching = ThreadPoolExecutor(1).submit(
        run_study, study=path, trials=4, workers=1, console=Console(quiet=True)
    )
    assert reached.wait(PATIENCE / SECONDS), searching.result()
    spec = load_spec(path)
    study, store, stop = open_study(spec, path), Store(tmp_path / "tiny" / "artifacts"), threading.Event()
    follower = threading.Thread(target=follow, args=(study, spec, store, stop))
    follower.start()
    try:
        with serving(study, store) as port:
            errors = watch(page)
            page.goto(f"http://127.0.0.1:{port}/dashboard/studies/1/trials")
            page.get_by_text("2 Trials", exact=True).wait_for()
            go.set()
            page.get_by_text("4 Trials", exact=True).wait_for()
            assert errors == []
            searching.result()
            wait_until(lambda: "tiny (Pareto front)" in names(study))
    finally:
        go.set()
        stop.set()
        follower.join()
    told = {t.user_attrs["trial"] for t in keep_front(study, spec).trials}
    assert told >= {t.number for t in results.complete(study.trials)}


def study_folder(study):
    return Path(study._storage._backend.engine.url.database).parent


def names(study):
    return [s.study_name for s in study._storage.get_all_studies()]


def wait_until(holds):
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
