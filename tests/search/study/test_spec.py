from pathlib import Path

import pytest

from search.study.settings import Range
from search.study.spec import load_spec
from trainers.errors import CONTROL, InputError

STUDY = """
[data]
source = "imdb"
train = 40
validation = 20
test = 20

[fit]
freeze_depth = { low = 0, high = 2 }
dropout = { low = 0.0, high = 0.5 }
head_width = [8, 16]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
patience = 2
"""


def load(folder, text, name="toy.toml"):
    path = folder / name
    path.write_text(text)
    return load_spec(path)


def mistake(folder, text, name="toy.toml"):
    with pytest.raises(InputError) as caught:
        load(folder, text, name)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder / name}: ")


def changed(old, new):
    assert old in STUDY
    return STUDY.replace(old, new)


def test_scalar_is_fixed_list_is_choices_table_is_range(tmp_path):
    fit = load(tmp_path, STUDY).fit
    assert fit["patience"] == 2
    assert fit["head_width"] == [8, 16]
    assert fit["learning_rate"] == Range(low=1e-4, high=1e-2, log=True)


def test_name_is_the_files_unless_the_file_says_otherwise(tmp_path):
    assert load(tmp_path, STUDY).name == "toy"
    assert load(tmp_path, 'name = "other"\n' + STUDY).name == "other"


def test_every_mistake_is_listed_at_once_with_key_and_nearest_valid_key(tmp_path):
    text = (
        STUDY.replace('source = "imdb"', 'sourc = "imdb"')
        .replace("dropout =", "dropuot =")
        .replace("[8, 16]", "[]")
        .replace("high = 1e-2", "hihg = 1e-2")
        .replace("patience = 2", "patience = 0")
    )
    assert mistake(tmp_path, text + "[goal]\nvalidation_acuracy = 0.8\n[score]\nceiling = 2\n").split(
        "; "
    ) == [
        "unknown key 'goal.validation_acuracy'",
        "did you mean 'validation_accuracy'?",
        "score.ceiling: Input should be less than or equal to 1, got 2",
        "'data.source' is missing",
        "add it",
        "unknown key 'data.sourc'",
        "did you mean 'source'?",
        "unknown key 'fit.dropuot'",
        "did you mean 'dropout'?",
        "'fit.dropout' is missing",
        "add it",
        "fit.head_width: must list at least one choice",
        "add one, got []",
        "'fit.learning_rate.high' is missing",
        "add it",
        "unknown key 'fit.learning_rate.hihg'",
        "did you mean 'high'?",
        "fit.patience: Input should be greater than or equal to 1, got 0",
    ]


def test_unknown_key_without_a_near_one_is_to_be_removed(tmp_path):
    assert mistake(tmp_path, STUDY + "zzz = 1\n") == "unknown key 'fit.zzz'; remove it"


def test_range_upside_down_is_named_with_both_ends(tmp_path):
    text = changed("low = 0.0, high = 0.5", "low = 0.5, high = 0.1")
    assert (
        mistake(tmp_path, text)
        == "fit.dropout: low must not exceed high, got low = 0.5, high = 0.1; swap them"
    )


def test_log_range_from_zero_is_refused(tmp_path):
    text = changed("low = 1e-4", "low = 0")
    assert (
        mistake(tmp_path, text) == "fit.learning_rate: a log range must start above 0, got low = 0; raise it"
    )


def test_range_of_one_point_is_valid(tmp_path):
    assert load(tmp_path, changed("low = 0, high = 2", "low = 2, high = 2")).depths() == (2,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("high = 0.5", "high = 1.5", "fit.dropout: Input should be less than 1, got 1.5"),
        ("[8, 16]", "[8, -1]", "fit.head_width: Input should be greater than or equal to 0, got -1"),
        ("[8, 16]", "[8, [16]]", "fit.head_width: Input should be a valid integer, got [16]"),
        (
            "low = 0, high = 2",
            "low = 0.5, high = 2",
            "fit.freeze_depth: Input should be a valid integer, got a number with a fractional part, got 0.5",
        ),
        (
            "patience = 2",
            'patience = 2\nschedule = "cosine"',
            "fit.schedule: Input should be 'constant' or 'linear', got 'cosine'",
        ),
    ],
)
def test_each_end_and_each_choice_must_suit_the_fit(tmp_path, old, new, message):
    assert mistake(tmp_path, changed(old, new)) == message


def test_value_that_is_not_finite_is_refused(tmp_path):
    assert "Input should be a finite number, got nan" in mistake(tmp_path, changed("low = 0.0", "low = nan"))


@pytest.mark.parametrize("key", ["freeze_depth", "dropout", "head_width", "learning_rate", "patience"])
def test_missing_dimension_is_named(tmp_path, key):
    text = "\n".join(line for line in STUDY.splitlines() if not line.startswith(key))
    assert mistake(tmp_path, text) == f"'fit.{key}' is missing; add it"


@pytest.mark.parametrize("name", ["../escape", "a/b", "..", "", "Upper", "-dash", "a" * 65, "a b"])
def test_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    assert mistake(tmp_path, f'name = "{name}"\n' + STUDY).startswith(
        "name: a study's name has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit, got "
    )


def test_file_name_that_is_no_study_name_is_refused(tmp_path):
    assert mistake(tmp_path, STUDY, "My Study.toml").endswith("got 'My Study'; rename it")


@pytest.mark.parametrize("rungs", ["[1.0, 0.5]", "[0.5, 0.5]", "[0.0]"])
def test_rungs_must_ascend_from_above_zero(tmp_path, rungs):
    message = mistake(tmp_path, STUDY + f"[pruning]\nrungs = {rungs}\n")
    assert message.startswith(
        "pruning.rungs: rungs must be positive and ascending; sort them and drop repeats, got ["
    )


def test_unknown_recipe_is_met_with_the_nearest_known_one(tmp_path):
    assert mistake(tmp_path, STUDY + '[recipes]\nenqueue = ["frozen-hed"]\n') == (
        "recipes: recipes are probe, usual, overfit, frozen-head, thaw-top; got 'frozen-hed'; did you mean 'frozen-head'?"
    )


def test_head_tokens_beyond_the_kept_length_are_refused(tmp_path):
    text = changed("test = 20", "test = 20\nmax_length = 16\nhead_tokens = 15")
    assert "at most max_length - 2 = 14, got 15" in mistake(tmp_path, text)


def test_broken_toml_names_the_line(tmp_path):
    message = mistake(tmp_path, "[data\n")
    assert "is not valid TOML" in message
    assert "line 1" in message


def test_depths_are_every_depth_that_the_space_asks_for(tmp_path):
    assert load(tmp_path, STUDY).depths() == (0, 1, 2)
    assert load(tmp_path, changed("{ low = 0, high = 2 }", "[3, 1]")).depths() == (1, 3)
    assert load(tmp_path, changed("{ low = 0, high = 2 }", "2")).depths() == (2,)


def test_ceiling_of_the_score_reaches_the_fit(tmp_path):
    spec = load(tmp_path, STUDY + "[score]\nceiling = 0.8\n")
    assert spec.any_config().ceiling == 0.8


def test_unknown_metric_is_met_with_those_there_are(tmp_path):
    assert mistake(tmp_path, STUDY + '[score]\nmetric = "f1"') == (
        "score.metric: Input should be 'accuracy', 'balanced_accuracy', 'macro_f1', 'micro_f1', 'subset_accuracy', "
        "'average_precision' or 'quadratic_kappa', got 'f1'"
    )


def test_metrics_that_several_labels_do_not_have_are_refused(tmp_path):
    several = STUDY.replace('source = "imdb"', 'source = "tickets.csv"\nlabel_separator = ";"')
    assert several != STUDY
    assert load(tmp_path, several).score.metric == "micro_f1"
    assert (
        load(tmp_path, several.replace("patience = 2", 'patience = 2\nloss = "focal"')).fit["loss"] == "focal"
    )
    assert mistake(tmp_path, several + '[score]\nmetric = "accuracy"').startswith(
        "score.metric must be micro_f1"
    )


def test_metric_belongs_to_the_score_and_is_not_searched(tmp_path):
    text = changed("patience = 2", 'patience = 2\nmetric = "macro_f1"')
    assert mistake(tmp_path, text) == "unknown key 'fit.metric'; remove it"


def test_class_weights_are_a_setting_of_the_fit(tmp_path):
    text = changed("patience = 2", 'patience = 2\nclass_weights = "balanced"')
    assert load(tmp_path, text).any_config().class_weights == "balanced"


@pytest.mark.parametrize("weights", [{"spam": 5.0, "ham": 1.0}, {"low": 1.0, "high": 5.0}])
def test_class_weights_may_be_a_table_by_class_which_is_no_range(tmp_path, weights):
    table = ", ".join(f"{name} = {weight}" for name, weight in weights.items())
    spec = load(tmp_path, changed("patience = 2", f"patience = 2\nclass_weights = {{ {table} }}"))
    assert spec.any_config().class_weights == weights
    assert type(spec).model_validate(spec.model_dump(mode="json")) == spec


def test_mistakes_in_class_weights_are_named(tmp_path):
    text = changed("patience = 2", "patience = 2\nclass_weights = { spam = 5.0, ham = 0 }")
    assert mistake(tmp_path, text) == (
        "fit.class_weights: the weights of classes must be numbers above 0, got 'ham' 0; change them"
    )
    text = changed("patience = 2", "patience = 2\nclass_weights = [{ spam = 5.0 }, { spam = 1.0 }]")
    assert mistake(tmp_path, text).startswith(
        "fit.class_weights: a table cannot be one of several choices; choose one"
    )


def test_the_focal_loss_is_an_open_setting(tmp_path):
    text = 'patience = 2\nloss = ["cross_entropy", "focal"]\nfocal_gamma = { low = 0.5, high = 5.0 }'
    fit = load(tmp_path, changed("patience = 2", text)).fit
    assert fit["focal_gamma"] == Range(low=0.5, high=5.0)
    assert "fit.focal_gamma: Input should be greater than or equal to 0" in mistake(
        tmp_path, changed("patience = 2", "patience = 2\nfocal_gamma = { low = -1, high = 5 }")
    )


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "studies").glob("*.toml")), ids=lambda p: p.stem
)
def test_shipped_study_is_valid(path):
    assert load_spec(path).name == path.stem


HOSTILE_NAMES = [
    "../x",
    "/tmp/x",
    "a/b",
    "..",
    ".",
    "",
    "a" * 65,
    "a\\u0000b",
    "a\\nb",
    "\\u001b[31mx",
    "a b",
    "A",
    "-a",
    "\u00e9",
    "a\\u202eb",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_name_in_the_file_cannot_lead_elsewhere(tmp_path, name):
    message = mistake(tmp_path, f'name = "{name}"\n{STUDY}')
    assert message.startswith(
        ("name: a study's name has 1 to 64 characters of a-z", "a text must hold no control")
    )
    assert CONTROL.search(message) is None


@pytest.mark.parametrize("stem", ["..x", "A", "a b", "\x1b[31m"])
def test_name_of_the_file_must_be_a_plain_one(tmp_path, stem):
    assert "name: a study's name has 1 to 64 characters of a-z" in mistake(tmp_path, STUDY, f"{stem}.toml")


@pytest.mark.parametrize(
    "line",
    [
        '[cache]\ndirectory = "a\\u0000b"',
        '[encoder]\nname = "a\\u001b[2Jb"',
        '[encoder]\n"a\\u0007" = 1',
        '[recipes]\nenqueue = ["\\u202e"]',
    ],
    ids=["directory", "encoder", "key", "list"],
)
def test_control_characters_are_refused_wherever_they_stand(tmp_path, line):
    message = mistake(tmp_path, f"{STUDY}{line}\n")
    assert message.startswith("a text must hold no control characters, got '")
    assert CONTROL.search(message) is None


@pytest.mark.parametrize("setting", ['["float32", "bfloat16"]', "{ low = 0, high = 1 }"])
def test_precision_is_one_value_for_all_trials(tmp_path, setting):
    text = changed("[fit]\n", f"[fit]\nprecision = {setting}\n")
    assert "fit.precision: must be one value, the same for all trials; choose one" in mistake(tmp_path, text)


def test_the_configuration_of_one_fit_is_no_study(tmp_path):
    path = tmp_path / "winner.toml"
    assert mistake(tmp_path, "dropout = 0.1\nfreeze_depth = 1\n[data]\nsource = 'imdb'\n", "winner.toml") == (
        f"{path} must be a study, which has a table [fit], got the configuration of one fit; fit it: "
        f"python -m trainers.train {path}"
    )


def test_a_byte_order_mark_of_a_study_is_read_over(tmp_path):
    assert load(tmp_path, f"\ufeff{STUDY}").data.source == "imdb"


def started(setups, *more):
    return STUDY + "\n".join(["[start]", f"setups = [{setups}]", *more])


def test_own_setups_may_hold_what_is_searched_and_what_agrees_with_what_is_fixed(tmp_path):
    text = started(
        "{ freeze_depth = 2, dropout = 0, head_width = 16, patience = 2, batch_size = 32 }", 'like = "auto"'
    )
    start = load(tmp_path, text).start
    assert start.setups == (
        {"freeze_depth": 2, "dropout": 0, "head_width": 16, "patience": 2, "batch_size": 32},
    )
    assert (start.like, start.portfolio) == ("auto", False)


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("{ freze_depth = 2 }", "unknown key 'start.setups.0.freze_depth'; did you mean 'freeze_depth'?"),
        ("{ dropout = '0.1' }", "start.setups.0.dropout: Input should be a valid number, got '0.1'"),
        ("{ freeze_depth = true }", "start.setups.0.freeze_depth: Input should be a valid integer, got True"),
        (
            "{ learning_rate = 0.02 }",
            "start.setups.0.learning_rate: must lie in the range of fit.learning_rate, 0.0001 to 0.01, got 0.02; widen "
            "the range, or change it",
        ),
        (
            "{ head_width = 12 }",
            "start.setups.0.head_width: must be one of fit.head_width, 8, 16, got 12; add it there, or change it",
        ),
        (
            "{ dropout = 0.1, patience = 3 }",
            "start.setups.0.patience: must be 2, which the study keeps, got 3; leave it out, or open fit.patience to the "
            "search",
        ),
        (
            "{ dropout = 0.1, class_weights = 'balanced' }",
            "start.setups.0.class_weights: must be absent, which the study keeps, got 'balanced'; leave it out, or open "
            "fit.class_weights to the search",
        ),
        ("{}", "start.setups.0: must give a setting that the study searches, got none; add one"),
        (
            "{ patience = 2 }",
            "start.setups.0: must give a setting that the study searches, got patience; add one",
        ),
        ("3", "start.setups.0: must be a table of settings, got 3; write { dropout = 0.1 }"),
    ],
)
def test_own_setup_that_cannot_be_tried_is_a_mistake(tmp_path, setup, said):
    assert mistake(tmp_path, started(setup)) == said


def test_every_mistake_of_the_start_is_listed_at_once_with_those_of_other_tables(tmp_path):
    text = started("{ dropout = 0.9 }, { dropout = 0.1, batch_size = 8 }", "portfoli = true", 'like = "imdb"')
    found = mistake(tmp_path, text + "\n[goal]\nvalidation_accuracy = 2\n")
    for said in (
        "goal.validation_accuracy: Input should be less than or equal to 1, got 2",
        "start.setups.0.dropout: must lie in the range of fit.dropout, 0.0 to 0.5, got 0.9",
        "start.setups.1.batch_size: must be 32, which the study keeps, got 8",
        "unknown key 'start.portfoli'; did you mean 'portfolio'?",
        'start.like: must be "auto" or a list of studies, got \'imdb\'; write like = ["NAME"], or leave it out',
    ):
        assert said in found


@pytest.mark.parametrize(
    ("like", "said"),
    [
        (
            "[]",
            'start.like: must be "auto" or a list of studies, got []; write like = ["NAME"], or leave it out',
        ),
        ('["toy"]', "start.like: must name other studies, got this study's own name; take it out"),
    ],
)
def test_like_names_other_studies(tmp_path, like, said):
    assert mistake(tmp_path, STUDY + f"[start]\nlike = {like}\n") == said


def test_names_in_like_cannot_leave_the_folder(tmp_path):
    assert "'../imdb'; rename it" in mistake(tmp_path, STUDY + "[start]\nlike = ['../imdb']\n")


def test_a_start_is_the_same_after_a_database_has_kept_it(tmp_path):
    spec = load(tmp_path, started("{ dropout = 0.1 }", 'like = ["imdb"]', "portfolio = true"))
    assert type(spec).model_validate(spec.model_dump(mode="json")) == spec


def with_fit(**changes):
    text = STUDY.replace("head_width = [8, 16]\n", "")
    return text + "".join(f"{key} = {value}\n" for key, value in changes.items())


def test_a_study_may_begin_its_fits_from_a_probe(tmp_path):
    spec = load(tmp_path, with_fit(head_start='"probe"', head_width="0", epochs="[0, 1]"))
    assert spec.any_config().head_start == "probe"


@pytest.mark.parametrize("widths", ["64", "[0, 32]", "{ low = 0, high = 8 }"])
@pytest.mark.parametrize("starts", ['"probe"', '["random", "probe"]'])
def test_a_probe_refuses_a_hidden_layer_anywhere_in_the_space(tmp_path, widths, starts):
    text = with_fit(head_start=starts, head_width=widths)
    assert "fit.head_width must be 0 alone, got" in mistake(tmp_path, text)


def test_only_a_probe_may_train_nothing_in_a_study(tmp_path):
    text = with_fit(head_start='["fitted", "probe"]', head_width="0", epochs="[0, 1]")
    assert 'fit.epochs must be at least 1 unless fit.head_start is "probe" alone, got 0' in mistake(
        tmp_path, text
    )


def test_a_sampler_that_learns_nothing_has_no_history(tmp_path):
    assert mistake(tmp_path, STUDY + '[sampler]\nkind = "sobol"\nhistory = 500\n') == (
        'sampler: history must be absent unless kind = "tpe": sobol learns from no trial, got 500; take it out'
    )
    assert "history" in mistake(tmp_path, STUDY + "[sampler]\nhistory = 10\n")
    assert "'tpe', 'random' or 'sobol'" in mistake(tmp_path, STUDY + '[sampler]\nkind = "gp"\n')


def test_a_study_without_a_sampler_is_stored_as_before(tmp_path):
    assert "sampler" not in load(tmp_path, STUDY).model_dump(mode="json")
    same = load(tmp_path, STUDY + '[sampler]\nkind = "tpe"\n')
    assert "sampler" not in same.model_dump(mode="json")
    told = load(tmp_path, STUDY + "[sampler]\nhistory = 500\n").model_dump(mode="json")
    assert told["sampler"] == {"kind": "tpe", "history": 500}
    assert [
        load(tmp_path, STUDY + f'[sampler]\nkind = "{kind}"\n').sampler.learns
        for kind in ("tpe", "random", "sobol")
    ] == [
        True,
        False,
        False,
    ]
