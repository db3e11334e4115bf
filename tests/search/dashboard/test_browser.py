"""The dashboard as a user sees it: a real browser, a real search, finished and running."""

import re
import shutil
import threading
import time
from pathlib import Path

import pytest
from browser import open_browser, watch
from served import serving

from search.dashboard.artifacts import Store
from search.dashboard.command import bring_in_step, follow
from search.dashboard.pareto_study import keep_front
from search.study import results
from search.study.opening import open_study
from search.study.spec import load_spec
from trainers.errors import InputError

pytestmark = [
    pytest.mark.slow,
    # Of the page's parameter importances, where trials are few; an error would be a failed request.
    pytest.mark.filterwarnings("ignore:Target and region quantiles select the same set of trials"),
]
SECONDS = 1000
PATIENCE = 120 * SECONDS  # milliseconds; the machine may be busy


@pytest.fixture(scope="module")
def browser():
    with open_browser("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 2600})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    yield page
    context.close()


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


def test_the_page_changes_while_the_search_runs(write_tiny_study, command, tmp_path, page):
    path = write_tiny_study(tmp_path)
    search = command(*("-m", "search.run", "--study", path, "--trials", "8", "--workers", "1"), start=True)
    stop = threading.Event()
    try:
        spec, study = load_spec(path), None
        while study is None or not results.complete(study.get_trials(deepcopy=False)):
            assert search.poll() is None
            time.sleep(0.2)
            if study is None and (tmp_path / "tiny" / "study.db").exists():
                study = try_to_open(spec, path)
        store = Store(tmp_path / "tiny" / "artifacts")
        follower = threading.Thread(target=follow, args=(study, spec, store, stop))
        follower.start()
        with serving(study, store) as port:
            errors = watch(page)
            page.goto(f"http://127.0.0.1:{port}/dashboard/studies/1/trials")
            count = page.get_by_text(re.compile(r"^\d+ Trials$"))
            count.wait_for()
            before = int(count.inner_text().split()[0])
            page.wait_for_function(
                "n => [...document.querySelectorAll('*')].some(e => e.children.length === 0"
                " && parseInt(e.textContent) > n && /^[0-9]+ Trials$/.test(e.textContent))",
                arg=before,
            )
            assert errors == []
            out, err = search.communicate(timeout=600)
            wait_until(lambda: "tiny (Pareto front)" in names(study))
    finally:
        stop.set()
        if search.poll() is None:
            search.terminate()
            search.communicate()
    follower.join()
    assert (search.returncode, err) == (0, "")
    assert "8 trials finished" in out
    front = keep_front(study, spec)
    told = {t.user_attrs["trial"] for t in front.trials}
    assert told >= {t.number for t in results.complete(study.trials)}


def study_folder(study):
    return Path(study._storage._backend.engine.url.database).parent


def try_to_open(spec, path):
    """Open the study of a search that may still be making its tables."""
    try:
        return open_study(spec, path)
    except InputError:
        return None


def names(study):
    return [s.study_name for s in study._storage.get_all_studies()]


def wait_until(holds):
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
