import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from axe_playwright_python import sync_playwright as axe
from browser import open_browser
from optuna.trial import TrialState
from toys import CONFIRMATION, DATA, add, as_written_by_0_1_0, evaluation, fill, make_spec, make_study

from search.analysis import Importances
from search.report.html import render
from search.report.summary import summarise

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"' {{ 7 * 7 }} \x1b[2J"


class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, and the words between."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.headings, self._inside = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = [tag] if tag in {"script", "style"} else self._inside

    def handle_endtag(self, tag):
        self._inside = [] if tag in {"script", "style"} else self._inside

    def handle_data(self, data):
        if not self._inside:
            self.words.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def render_page(study, spec=None, *, confirmation=None, **options):
    if confirmation:
        study._storage.set_study_system_attr(study._study_id, "frostline:confirmation", confirmation)
    summary = summarise(study, spec or make_spec())
    return render(summary, options="--study toy", **options)


@pytest.fixture(scope="module")
def html():
    return render_page(fill(make_study()), confirmation=CONFIRMATION)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def figures_of(html):
    return json.loads(re.search(r'id="figures">(.*?)</script>', html, flags=re.DOTALL).group(1))["figures"]


def test_the_answer_stands_first(page):
    assert (
        "Trial 1 reaches 85.05 % ± 0.07 on validation over 2 of 3 fresh seeds, 2 of 3 under the ceiling"
        in page.text
    )


def title_and_badge(html):
    title = re.search(r"<title>(.*?)</title>", html).group(1)
    return title, *re.search(r'<span class="badge (\w+)">(.*?)</span>', html).groups()


def test_before_a_confirmation_title_and_badge_say_that_the_search_met_the_goal():
    html = render_page(fill(make_study()))
    assert title_and_badge(html) == ("toy: goal met in the search", "open", "goal met in the search")
    assert "Trial 1 reaches 86.00 % on validation, at 91.00 % on training" in Page(html).text


@pytest.mark.parametrize(("goal", "badge", "words"), [(0.85, "good", "met"), (0.86, "warn", "not met")])
def test_after_a_confirmation_they_say_what_fresh_seeds_say(goal, badge, words):
    html = render_page(
        fill(make_study()), make_spec(goal={"validation_accuracy": goal}), confirmation=CONFIRMATION
    )
    state = f"goal {words} on fresh seeds"
    assert title_and_badge(html) == (f"toy: {state}", badge, state)
    assert f"{words} on fresh seeds" in Page(html).text


def test_the_confirmation_tells_its_luck_and_what_intervals_cover(page):
    assert "luck of the seed" not in page.text
    assert "1.00 points less, within the error of 1.40, so not to be called luck." in page.text
    assert "Intervals (95 %) speak of other seeds and of other texts like these" in page.text
    assert "every fit predicted it once" in page.text
    assert "Paired comparisons on the test split (paired permutation of accuracy;" in page.text


def test_a_confirmation_of_version_0_1_0_has_a_page():
    html = render_page(fill(make_study()), confirmation=as_written_by_0_1_0(CONFIRMATION))
    text = Page(html).text
    assert "one fit of each finalist predicted it, once" in text
    assert "(McNemar, exact; p corrected after Holm)" in text
    assert "these two fits differ, other seeds may not" in text


def test_a_test_figure_without_an_interval_is_drawn_and_told_without_one():
    found = json.loads(json.dumps(CONFIRMATION))
    found["finalists"][0]["test"] |= {"accuracy": 1.0, "low": None, "high": None}
    found["comparisons"][0] |= {"low": None, "high": None}
    html = render_page(fill(make_study()), confirmation=found)
    assert "figure-confirmation" in figures_of(html)
    assert "- to -" not in Page(html).text


def test_marks_of_a_finalist_keep_their_figures_where_they_are_equal():
    found = json.loads(json.dumps(CONFIRMATION))
    for finalist in found["finalists"]:
        finalist["validation"] |= {"mean": 1.0, "spread": 0.0}
        finalist["search"]["validation_accuracy"] = 1.0
        finalist["test"] = finalist["test"] and finalist["test"] | {
            "accuracy": 1.0,
            "low": None,
            "high": None,
        }
    drawn = figures_of(render_page(fill(make_study()), confirmation=found))["figure-confirmation"]
    assert {trace["orientation"] for trace in drawn["data"]} == {
        "h"
    }  # else plotly spreads equal ones along x
    assert drawn["layout"]["xaxis"]["range"] == pytest.approx([0.99, 1.01])


def test_the_picture_of_a_confirmation_shows_its_intervals_and_little_more(html):
    low, high = figures_of(html)["figure-confirmation"]["layout"]["xaxis"]["range"]
    tests = [f["test"] for f in CONFIRMATION["finalists"] if f["test"]]
    assert low < min(t["low"] for t in tests)
    assert max(t["high"] for t in tests) < high
    assert high - low < 0.3


def test_a_heading_over_words_stands_over_their_beginning(html):
    rows = re.findall(r"<thead>(.*?)</thead>\s*<tbody>\s*(<tr.*?</tr>)?", html, flags=re.DOTALL)
    assert sum('<td class="text">' in row for _, row in rows) == 3
    assert all(
        ('<td class="text">' in row) == ('<th scope="col" class="text">' in head) for head, row in rows
    )


def folded(study):
    page = study.user_attrs["data"]
    counts = page["texts_per_class"]
    same = {"validation": page["train"], "texts_per_class": {**counts, "validation": counts["train"]}}
    study.set_user_attr("data", {**page, **same, "folds": 5})
    return study


def test_of_folds_the_page_speaks_of_means_and_counts_texts_once():
    html = render_page(folded(fill(make_study())))
    text = Page(html).text
    assert "every trial that fitted all folds one mark" in text
    assert "the mean of the folds that it had fitted" in text
    assert '<th scope="col">class</th><th scope="col">in 5 folds</th><th scope="col">test</th>' in html
    assert "every trial a line" not in text


def test_a_setting_of_a_recipe_stands_among_the_searched_ones_by_its_size():
    study = fill(make_study())
    config = {"freeze_depth": 6, "dropout": 0.0, "head_width": 0, "learning_rate": 1e-3, "patience": None}
    add(study, 0.80, 0.78, recipe="probe", config=config)
    assert figures_of(render_page(study))["figure-slice-head_width"]["layout"]["xaxis"]["categoryarray"] == [
        *("0", "32", "64", "128")
    ]


def test_figures_of_equal_shares_stay_near_them():
    study = make_study()
    study.set_user_attr("data", DATA)
    for _ in range(2):
        add(study, 0.9, 0.9, evaluations=[evaluation(0.0, 0.9, 0.9)], best_epoch=0.0)
    drawn = figures_of(render_page(study))
    for name, near in (("gap", 0.0), ("slice-dropout", 0.9)):
        assert drawn[f"figure-{name}"]["layout"]["yaxis"]["range"] == pytest.approx(
            [near - 0.01, near + 0.01]
        )
    assert (
        drawn["figure-gap"]["layout"]["xaxis"]["range"][0]
        < 0
        < 1
        < drawn["figure-gap"]["layout"]["xaxis"]["range"][1]
    )


def test_what_probabilities_are_worth_is_drawn_and_told_as_a_table():
    curve = {"counts": [10, 10], "confidences": [0.6, 0.9], "accuracies": [0.5, 0.7]}
    curve |= {"error": 0.15, "by_chance": 0.1, "log_loss": 0.6}
    split = {"num_texts": 20, "before": curve, "after": curve | {"error": 0.05}}
    calibration = {"temperature": 1.5, "reason": None, "validation": split, "test": split}
    html = render_page(fill(make_study()), confirmation=CONFIRMATION | {"calibration": calibration})
    assert {"figure-reliability-0", "figure-reliability-1"} <= set(figures_of(html))
    text = Page(html).text
    assert (
        "With its logits divided by 1.5, the temperature that validation calls for: 5.00 % on validation"
        in text
    )
    assert "the test split, 2" in text
    assert "<td>10</td><td>90.00</td><td>70.00</td>" in html
    assert "figure-reliability-0" not in figures_of(
        render_page(fill(make_study()), confirmation=CONFIRMATION)
    )


def test_an_unmet_goal_says_what_is_missing_and_what_to_do():
    html = render_page(fill(make_study()), make_spec(goal={"validation_accuracy": 0.9}))
    text = Page(html).text
    assert "goal not met" in text
    assert "2.67 points short and 1.12 points over the ceiling" in text
    assert "What to do: more trials" in text


def test_an_empty_study_has_a_page():
    text = Page(render_page(make_study())).text
    assert "No trial has completed yet" in text
    assert "Importances cannot be told: it takes 20 complete trials besides the recipes, there are 0." in text


def test_importances_are_shown_with_their_intervals():
    told = {
        "shares": {"learning_rate": 0.75, "patience": 0.25},
        "intervals": {"learning_rate": {"low": 0.4, "high": 0.9}, "patience": {"low": 0.3, "high": 0.31}},
    }
    told |= {"confidence": 0.9, "trials": 21, "missing": None}
    importances = Importances.model_validate(told)
    summary = summarise(fill(make_study()), make_spec()).model_copy(update={"importances": importances})
    html = render(summary, options="--study toy")
    assert "over 21 complete trials, recipes left out. Lines: 90 % intervals" in Page(html).text
    assert "learning rate 75.00 40.00 to 90.00" in " ".join(Page(html.replace("<td>", " <td>")).text.split())
    (bars,) = figures_of(html)["figure-importances"]["data"]
    lines = dict(
        zip(bars["y"], zip(bars["error_x"]["arrayminus"], bars["error_x"]["array"], strict=True), strict=True)
    )
    assert lines["learning rate"] == pytest.approx((0.35, 0.15))
    assert lines["patience"] == pytest.approx((0.0, 0.06))  # its interval lies above its share


def test_a_running_study_says_so():
    study = fill(make_study())
    add(study, state=TrialState.RUNNING, evaluations=[evaluation(1.0, 0.8, 0.8)])
    assert "a study that has not ended: 1 running, 0 waiting." in Page(render_page(study)).text


def test_the_front_names_epoch_and_trial(page):
    assert "trial 1, epoch 2" in page.text
    assert "trial 1, epoch 1" in page.text


def test_confirmation_is_shown_where_there_is_one(page):
    assert "Winner: trial 1." in page.text
    assert "84.50" in page.text
    assert "Not confirmed" not in page.text


def test_without_confirmation_the_page_warns():
    text = Page(render_page(fill(make_study()))).text
    assert "Not confirmed: the validation figures are the best of 6 trials, so probably too high." in text


def test_headings_are_in_order_and_there_is_one_h1(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_scopes(page):
    assert len(page.named("table")) == len(page.named("caption")) > 5
    assert {attrs["scope"] for attrs in page.named("th")} == {"col", "row"}


def test_every_figure_has_a_text_alternative_and_a_place(html, page):
    places = {a["id"]: a["aria-label"] for a in page.named("div") if a.get("role") == "img"}
    assert set(places) == set(figures_of(html))
    assert all(places.values())


def test_links_lead_to_sections_of_the_page(page):
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {attrs["href"][1:] for attrs in page.named("a")} <= ids


def test_the_page_asks_for_nothing_from_anywhere(page):
    assert [a for _, a in page.elements if "src" in a] == []
    assert [a["href"] for a in page.named("link")] == ["data:,"]


@pytest.mark.parametrize("refresh", [None, 30])
def test_the_page_renews_itself_only_when_asked_to(refresh):
    metas = Page(render_page(make_study(), refresh_seconds=refresh)).named("meta")
    found = [m["content"] for m in metas if m.get("http-equiv") == "refresh"]
    assert found == ([] if refresh is None else ["30"])


def hostile_page():
    study = fill(make_study())
    study.set_user_attr("data", {**study.user_attrs["data"], "class_names": [HOSTILE, "good"]})
    add(study, state=TrialState.FAIL, reason=HOSTILE)
    add(study, 0.80, 0.85, recipe=HOSTILE)
    confirmation = json.loads(json.dumps(CONFIRMATION))
    confirmation |= {"rule": HOSTILE, "winner": HOSTILE}
    confirmation["finalists"][0] |= {"name": HOSTILE}
    confirmation["processors"] = [HOSTILE, "another"]
    study._storage.set_study_system_attr(study._study_id, "frostline:confirmation", confirmation)
    summary = summarise(study, make_spec())
    recipes = [summary.recipes[0].model_copy(update={"recipe": HOSTILE}), *summary.recipes[1:]]
    summary = summary.model_copy(update={"study": HOSTILE, "recipes": recipes})
    return render(summary, options=f"--study '{HOSTILE}'")


def test_hostile_texts_are_words_on_the_page_and_in_its_figures():
    html = hostile_page()
    page = Page(html)
    assert len(page.named("script")) == 3
    assert page.named("img") == []
    assert [attrs for _, attrs in page.elements if any(key.startswith("on") for key in attrs)] == []
    assert "</script><script>alert(1)</script><img src=x onerror=alert(1)>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\x1b" not in html.replace("\\u001b", "")
    assert "<img" not in json.dumps(figures_of(html))


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(html, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html)
    return path


def visit(browser, path, **options):
    """Open a file; returns the page, and all that it said on the console or asked for."""
    page = browser.new_page(**options)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(path.as_uri(), timeout=120_000)
    page.wait_for_selector("#figure-hypervolume .main-svg", timeout=120_000)
    return page, [words for words in said if words != path.as_uri()]


@pytest.fixture(scope="module")
def visited(browser, path):
    """The page and what it said, by colour scheme."""
    return {scheme: visit(browser, path, color_scheme=scheme) for scheme in ("light", "dark")}


@pytest.mark.slow
def test_a_browser_draws_every_figure_and_has_nothing_to_say(visited, html):
    page, said = visited["light"]
    assert said == []
    drawn = page.eval_on_selector_all(".plot", "all => all.filter(e => e.querySelector('.main-svg')).length")
    assert drawn == len(figures_of(html))
    assert page.get_by_text("6 finished: 4 complete (3 under the ceiling)").is_visible()
    assert page.locator("#figure-pareto .legendtext", has_text="Pareto front").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


@pytest.mark.slow
def test_a_phone_scrolls_no_page_sideways(browser, path):
    page, _ = visit(browser, path, viewport={"width": 360, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()


@pytest.mark.slow
def test_a_dark_page_is_dark_figures_and_all(visited):
    colors = []
    for page, _ in visited.values():
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        words = page.eval_on_selector("#figure-pareto .xtick text", "e => getComputedStyle(e).fill")
        colors.append((background, words))
    assert colors == [
        ("rgb(246, 247, 249)", "rgb(28, 39, 51)"),
        ("rgb(18, 23, 29)", "rgb(230, 233, 238)"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_anybody_out(visited, scheme):
    page, _ = visited[scheme]
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in found] == []


@pytest.mark.slow
def test_a_browser_runs_no_hostile_text(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(hostile_page())
    page, said = visit(browser, path)
    assert said == []
    page.close()
