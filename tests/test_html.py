import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from browser import open_browser, watch
from optuna.trial import TrialState
from toys import CONFIRMATION, add, evaluation, fill, make_spec, make_study

from search.html import render
from search.summary import summarise

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'`${7*7}{{7*7}}"


def page_of(summary, **options):
    return render(summary, options="--study toy", **options)


@pytest.fixture(scope="module")
def summary():
    return summarise(fill(make_study()), make_spec())


@pytest.fixture(scope="module")
def confirmed(summary):
    return summary | {"confirmation": CONFIRMATION}


@pytest.fixture(scope="module")
def page(confirmed):
    return page_of(confirmed)


class Outline(HTMLParser):
    """Tags of a page with their attributes, and the text inside them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_the_answer_comes_first(outline):
    assert "Trial 1 reaches 86.00 % on validation, at 91.00 % on training" in outline.text[:600]


def test_a_goal_that_is_not_met_comes_with_advice():
    study = make_study()
    add(study, 0.95, 0.80)
    text = Outline(page_of(summarise(study, make_spec()))).text
    assert "not met" in text
    assert "raise dropout, freeze more layers" in text


def test_a_study_without_a_trial_has_a_page():
    text = Outline(page_of(summarise(make_study(), make_spec()))).text
    assert "No checkpoint has been evaluated yet" in text


def test_recipes_stand_beside_the_winner(outline):
    assert "frozen-head" in outline.text
    assert "87.00 90.00 78.00 80.00" in outline.text  # reported, then measured


def test_which_epoch_of_which_trial_is_on_the_front(outline):
    assert "trial 1, epoch 1" in outline.text


def test_confirmation_is_told(outline):
    assert "86.00 85.00" in outline.text  # in the search, on fresh seeds
    assert "84.50" in outline.text  # on the test split
    assert "0.008" in outline.text


def test_unconfirmed_figures_are_said_to_flatter(summary):
    assert (
        "Not confirmed: the validation figures are the best of 6 tries, and flatter"
        in Outline(page_of(summary)).text
    )


def test_failures_and_prunings_have_their_reasons(outline):
    assert "failed: diverged" in outline.text
    assert "pruned: rung 1" in outline.text


def test_fingerprints_and_commands_to_reproduce_it_are_there(outline):
    for piece in ("ab" * 32, "cd" * 32, "python -m search.run --study toy", "torch", "seed"):
        assert piece in outline.text


def test_headings_do_not_skip_a_level(outline):
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_heads_with_a_scope(outline):
    assert len(outline.all("table")) == len(outline.all("caption")) > 5
    assert all(th.get("scope") in {"col", "row"} for th in outline.all("th"))


def test_every_figure_has_words_for_who_does_not_see_it(outline):
    plots = [attrs for _, attrs in outline.tags if "plot" in attrs.get("class", "").split()]
    assert len(plots) == len(outline.all("figure")) > 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)


def test_there_are_landmarks_a_language_and_a_way_past_the_menu(outline):
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in outline.tags}
    assert outline.all("html")[0]["lang"] == "en"
    assert {"href": "#main", "class": "skip"} in outline.all("a")


def test_nothing_is_fetched_from_elsewhere(outline):
    for tag, attrs in outline.tags:
        for name in ("src", "href"):
            assert not attrs.get(name, "").startswith(("http:", "https:", "//")), (tag, attrs)
    assert outline.all("iframe") == []


def test_the_page_asks_to_be_read_again_only_when_it_is_renewed(summary):
    def refresh(page):
        return [m["content"] for m in Outline(page).all("meta") if m.get("http-equiv") == "refresh"]

    assert refresh(page_of(summary)) == []
    assert refresh(page_of(summary, refresh_seconds=7)) == ["7"]


@pytest.fixture(scope="module")
def hostile_page():
    study = fill(make_study())
    study.set_user_attr("encoder_revision", HOSTILE)
    data = {**study.user_attrs["data"], "class_names": [HOSTILE, "good"]}
    data["findings"] = [{**data["findings"][0], "message": HOSTILE, "file": HOSTILE}]
    study.set_user_attr("data", data)
    add(study, 0.9, 0.87, recipe=HOSTILE, evaluations=[evaluation(1.0, 0.87, 0.9)])
    add(study, state=TrialState.FAIL, reason=f"{HOSTILE}: x")
    spec = make_spec()
    spec = spec.model_copy(update={"fit": {**spec.fit, "pooling": [HOSTILE, "b"]}})
    summary = summarise(study, spec)
    found = json.loads(json.dumps(CONFIRMATION).replace("trial 5", "HOSTILE"))
    found["finalists"][2]["name"] = HOSTILE
    found["comparisons"][0]["first"] = HOSTILE
    return render(summary | {"confirmation": found}, options=HOSTILE)


def test_what_came_from_the_user_stays_text(hostile_page):
    outline = Outline(hostile_page)
    assert outline.all("img") == []
    assert not any(name.startswith("on") for _, attrs in outline.tags for name in attrs)
    assert "{{7*7}}" in outline.text
    assert len(outline.all("script")) == 3  # plotly, the page's own, and the figures' data


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


def opened(browser, page, tmp_path, *, width=1280, **options):
    """Open a page of a file, offline; return it with what it complained of and what it asked for."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
    errors, requests = watch(tab), []
    tab.on("request", lambda r: requests.append(r.url))
    tab.goto(path.as_uri())
    tab.wait_for_function("document.querySelectorAll('.main-svg').length > 5")
    return tab, errors, [r for r in requests if not r.startswith(("file:", "data:", "blob:"))]


@pytest.mark.slow
def test_a_browser_draws_every_figure_without_complaint_or_request(browser, page, tmp_path):
    tab, errors, requests = opened(browser, page, tmp_path)
    drawn = tab.evaluate("[...document.querySelectorAll('.plot')].map(p => !!p.querySelector('.main-svg'))")
    assert len(drawn) > 5
    assert all(drawn)
    assert "6" in tab.inner_text("main")
    assert tab.locator("#figure-pareto .scatterlayer .trace").count() >= 4
    assert (errors, requests) == ([], [])
    tab.close()


@pytest.mark.slow
def test_a_hostile_study_runs_nothing_in_a_browser(browser, hostile_page, tmp_path):
    tab, errors, requests = opened(browser, hostile_page, tmp_path)
    dialogs = []
    tab.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
    tab.wait_for_timeout(500)
    assert tab.locator("img[src=x]").count() == 0
    assert (errors, requests, dialogs) == ([], [], [])
    tab.close()


@pytest.mark.slow
def test_a_phone_scrolls_down_only(browser, page, tmp_path):
    tab, errors, _ = opened(browser, page, tmp_path, width=360)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert errors == []
    tab.close()


@pytest.mark.slow
def test_dark_mode_is_dark_figures_included(browser, page, tmp_path):
    def colors(scheme):
        tab, _, _ = opened(browser, page, tmp_path, color_scheme=scheme)
        found = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.querySelector('#figure-pareto .xtick text')).fill]"
        )
        tab.close()
        return found

    (light_page, light_ink), (dark_page, dark_ink) = colors("light"), colors("dark")
    assert light_page != dark_page
    assert light_ink != dark_ink


@pytest.mark.slow
def test_the_first_key_leads_past_the_menu(browser, page, tmp_path):
    tab, _, _ = opened(browser, page, tmp_path)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('href')") == "#main"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.close()
