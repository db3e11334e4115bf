import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from trainers.config import DataConfig
from trainers.data import load_splits, read_texts
from trainers.data.filtering import admit
from trainers.data.grouping import draw_groups, join_groups
from trainers.data.sources import Row, Source
from trainers.data.splits import describe_data
from trainers.data.splitting import SPLITS, split_rows
from trainers.errors import InputError

WORDS = ("ash", "birch", "cedar", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "spruce", "yew")


def text_of(i):
    """A text that shares no more than half of its words with the others."""
    return " ".join([f"{WORDS[i % 12]}{i}", f"{WORDS[i // 12 % 12]}{i * 7}", f"note{i}"])


def rows_of(groups, *, labels=None, given=None, texts=None):
    labels = labels or [i % 2 for i in range(len(groups))]
    given = given or [None] * len(groups)
    return [
        Row(texts[i] if texts else text_of(i), str(labels[i]), given[i], "r.csv", i + 2, group)
        for i, group in enumerate(groups)
    ]


def admitted(rows):
    return admit(Source(rows, (), "line", "patient"))


def write(path, rows, *, split=False):
    columns = ["text", "label", "patient", *(["part"] if split else [])]
    lines = [",".join([r.text, r.label, r.group or "", *([r.split] if split else [])]) for r in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


def distance(rows, labels, drawn, size):
    """What a draw has too many or too few of, over each class and all."""
    labels = np.array(labels)
    classes = [
        abs((labels[drawn] == k).sum() - (labels[rows] == k).sum() * size / len(rows))
        for k in np.unique(labels)
    ]
    return abs(len(drawn) - size) + sum(classes)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=80, max_size=200),
    st.integers(10, 25),
    st.integers(10, 25),
    st.integers(0, 3),
)
@settings(max_examples=40)
def test_no_group_stands_in_two_splits_whatever_the_sizes(pairs, validation, test, seed):
    pairs += [(40 + i, i % 3) for i in range(15)]
    groups_N, labels_N = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    rows = rows_of([str(g) for g in groups_N], labels=labels_N.tolist())
    config = DataConfig(source="/r.csv", group="patient", validation=validation, test=test, seed=seed)
    try:
        parts, _ = split_rows(rows, labels_N, np.arange(len(rows)), config, groups_N=groups_N)
    except InputError as error:  # one group may have nearly all texts
        assert "leave" in str(error) or "has no text of" in str(error)  # noqa: PT017
        return
    sets = [set(groups_N[parts[name]].tolist()) for name in SPLITS]
    assert not any(first & second for first, second in itertools.combinations(sets, 2))
    assert sorted(np.concatenate([parts[name] for name in SPLITS]).tolist()) == list(range(len(rows)))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_drawn_is_as_near_as_the_best_of_all_choices_of_groups(seed):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 12, 11)
    groups_N, labels_N = np.repeat(np.arange(11), sizes), draw.integers(0, 3, sizes.sum())
    rows, size = np.arange(len(groups_N)), len(groups_N) // 5
    rest, drawn = draw_groups(rows, labels_N, groups_N, size, leave=1, seed=0)
    best = min(
        distance(rows, labels_N, np.flatnonzero(np.isin(groups_N, chosen)), size)
        for count in range(1, 11)
        for chosen in itertools.combinations(range(11), count)
    )
    assert distance(rows, labels_N, drawn, size) == pytest.approx(best)
    assert sorted([*rest, *drawn]) == rows.tolist()


@pytest.mark.parametrize("num_classes", [2, 20])
def test_what_is_drawn_is_no_farther_off_than_the_best_fold_of_scikit_learn(num_classes):
    draw = np.random.default_rng(1)
    sizes = 1 + draw.geometric(0.15, 120)
    groups_N = np.repeat(np.arange(120), sizes)
    labels_N = draw.integers(0, num_classes, sizes.sum())
    rows, size = np.arange(len(groups_N)), len(groups_N) // 5
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(rows, labels_N, groups_N)
    best = min(distance(rows, labels_N, fold, size) for _, fold in folds)
    _, drawn = draw_groups(rows, labels_N, groups_N, size, leave=1, seed=0)
    assert abs(len(drawn) - size) <= 1
    assert distance(rows, labels_N, drawn, size) <= best


def test_where_each_text_is_a_group_splits_have_the_sizes_and_classes_asked_for(tmp_path):
    rows = rows_of([str(i) for i in range(100)])
    texts = read_texts(DataConfig(source=str(write(tmp_path / "r.csv", rows)), group="patient", test=30))
    assert [len(texts.parts[name]) for name in SPLITS] == [50, 20, 30]
    assert [np.bincount(texts.labels_N[texts.parts[name]]).tolist() for name in SPLITS] == [
        [25, 25],
        [10, 10],
        [15, 15],
    ]


def test_the_same_seed_draws_the_same_groups_and_another_one_others(tmp_path):
    path = write(tmp_path / "r.csv", rows_of([f"p{i // 4}" for i in range(200)]))

    def drawn(seed):
        return read_texts(DataConfig(source=str(path), group="patient", seed=seed)).parts["test"].tolist()

    assert drawn(0) == drawn(0) != drawn(1)


def test_near_duplicates_make_one_group_of_two():
    rows = rows_of(["a", "b", "c", "b"])
    groups_N, findings = join_groups(rows, np.array([0, 0, 2, 3]), [], "patient")
    assert groups_N.tolist() == [0, 0, 1, 0]
    assert [(f.kind, f.severity) for f in findings] == [("joined groups", "warning")]
    assert str(findings[0]) == (
        "r.csv: texts that are the same, or nearly, make 2 groups of the 3 of column 'patient'; the largest has 3 of 4 "
        "texts, from 2 of them; leave out texts that many have in common"
    )


def test_few_groups_that_are_joined_are_a_note():
    rows = rows_of([f"p{i // 2}" for i in range(40)])
    clusters_N = np.arange(40)
    clusters_N[2] = 0
    groups_N, findings = join_groups(rows, clusters_N, [], "patient")
    assert (groups_N[:6].tolist(), groups_N.max()) == ([0, 0, 0, 0, 1, 1], 18)
    assert [f.severity for f in findings] == ["note"]


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=25),
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=8),
)
def test_groups_are_joined_as_a_plain_loop_joins_them(groups, alike):
    rows = rows_of([f"p{g}" for g in groups])
    clusters_N = np.arange(len(rows))
    for i, j in alike:
        if i < j < len(rows):
            clusters_N[j] = clusters_N[i]
    expected = list(range(len(rows)))
    for _ in rows:  # until nothing changes
        for i, j in itertools.combinations(range(len(rows)), 2):
            if groups[i] == groups[j] or clusters_N[i] == clusters_N[j]:
                expected[i] = expected[j] = min(expected[i], expected[j])
    groups_N, _ = join_groups(rows, clusters_N, [], "patient")
    same = [[a == b for b in expected] for a in expected]
    assert (groups_N[:, None] == groups_N).tolist() == same


def test_groups_that_had_an_equal_text_are_one(tmp_path):
    rows = rows_of([f"p{i // 4}" for i in range(200)])
    rows[7] = rows[0]._replace(group="p1")  # p1 says what p0 said before
    texts = read_texts(DataConfig(source=str(write(tmp_path / "r.csv", rows)), group="patient"))
    by_name = {row.group: g for row, g in zip(texts.rows, texts.groups_N, strict=True)}
    assert by_name["p0"] == by_name["p1"] != by_name["p2"]
    assert max(Counter(by_name.values()).values()) == 2


def test_of_near_duplicates_validation_and_test_are_given_one_and_all_stand_in_one_split(tmp_path):
    words = " ".join(f"word{i}" for i in range(40))
    pairs = [f"{words} {g} {text_of(g)}{end}" for g in range(60) for end in ("", "!")]
    texts = [f"{' '.join(f'{w}{i // 2}' for w in t.split())}" for i, t in enumerate(pairs)]
    texts = [t + "!" * (i % 2) for i, t in enumerate(texts)]
    rows = rows_of([f"p{i}" for i in range(120)], labels=[i // 2 % 2 for i in range(120)], texts=texts)
    read = read_texts(DataConfig(source=str(write(tmp_path / "r.csv", rows)), group="patient"))
    assert [len(read.parts[name]) for name in SPLITS] == [72, 12, 12]
    assert len(np.unique(read.groups_N)) == 60
    [left_out] = [f for f in read.findings if f.kind == "near duplicates"]
    assert (left_out.count, left_out.message) == (
        24,
        "rows that say nearly the same as one in validation or test were left out",
    )


def test_rows_without_a_group_are_an_error_with_their_lines():
    rows = rows_of([None if i in {3, 50} else f"p{i // 5}" for i in range(100)])
    with pytest.raises(InputError) as caught:
        admitted(rows)
    assert str(caught.value) == (
        "r.csv, lines 5, 52: each row must have a group in column 'patient', got none; fill it in: a text that belongs to no "
        "other gets a name of its own"
    )


def test_an_empty_column_of_groups_is_an_error():
    with pytest.raises(InputError, match="must have a group in column 'patient', got none"):
        admitted(rows_of([None] * 40))


def test_rows_that_are_left_out_need_no_group():
    rows = rows_of([f"p{i // 5}" for i in range(100)])
    rows += [rows[0]._replace(text="", group=None), rows[0]._replace(label=None, group=None)]
    assert len(admitted(rows).rows) == 100


def test_given_splits_that_share_groups_are_an_error_that_lists_the_first_five():
    given = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    rows = rows_of([f"p{i % 10}" if i >= 52 else "q" for i in range(100)], given=given)
    with pytest.raises(InputError) as caught:
        admitted(rows)
    assert str(caught.value) == (
        "r.csv: no group of column 'patient' may stand in two splits, got 10 that do: 'p2' (train: line 54; validation: line 64; "
        "test: line 84), 'p3' (train: line 55; validation: line 65; test: line 85), 'p4' (train: line 56; validation: line 66; "
        "test: line 86), 'p5' (train: line 57; validation: line 67; test: line 87), 'p6' (train: line 58; validation: line 68; "
        "test: line 88) and 5 more; move their rows to one split, or leave the splits out to have them drawn by group"
    )


def test_files_that_share_groups_are_named(tmp_path):
    rows = rows_of([f"p{i // 4}" for i in range(200)])
    train, test = write(tmp_path / "a.csv", rows[:146]), write(tmp_path / "b.csv", rows[146:])
    config = DataConfig(source=str(train), test_source=str(test), group="patient")
    with pytest.raises(
        InputError, match=r"got 1 that do: 'p36' \(train: a.csv, line 146; test: b.csv, line 2\); move"
    ):
        read_texts(config)


def test_a_given_split_is_kept_and_the_others_are_drawn_by_group(tmp_path):
    given = ["train"] * 160 + ["test"] * 40
    rows = rows_of([f"p{i // 4}" for i in range(200)], given=given)
    texts = read_texts(
        DataConfig(source=str(write(tmp_path / "r.csv", rows, split=True)), group="patient", split="part")
    )
    assert texts.parts["test"].tolist() == list(range(160, 200))
    drawn = {texts.rows[i].group for i in texts.parts["validation"]}
    assert (len(texts.parts["validation"]), len(drawn)) == (32, 8)
    assert not drawn & {texts.rows[i].group for i in texts.parts["train"]}


def test_a_column_of_one_group_is_an_error():
    with pytest.raises(InputError) as caught:
        admitted(rows_of(["clinic"] * 40))
    assert str(caught.value) == (
        "r.csv: column 'patient' must hold several groups, got 'clinic' in each row; name another with data.group, or leave it out"
    )


def test_a_column_with_another_group_in_each_row_is_warned_of():
    found = admitted(rows_of([str(i) for i in range(40)])).findings
    assert [str(f) for f in found] == [
        "r.csv: column 'patient' has another group in each row, so that it keeps nothing together; name another with data.group, "
        "or leave it out"
    ]


def test_too_few_groups_for_the_splits_are_an_error(tmp_path):
    path = write(tmp_path / "r.csv", rows_of([f"p{i % 2}" for i in range(100)]))
    with pytest.raises(InputError) as caught:
        read_texts(DataConfig(source=str(path), group="patient"))
    assert str(caught.value) == (
        "data.train + data.validation + data.test must have a group of column 'patient' each, got 2 for 3 splits; add texts of "
        "others, or leave data.group out"
    )


def test_a_group_with_nearly_all_texts_is_an_error(tmp_path):
    groups = ["big"] * 90 + [f"p{i // 3}" for i in range(9)]
    path = write(tmp_path / "r.csv", rows_of(groups))
    with pytest.raises(
        InputError, match="each split must have 10 texts at least, whole groups of column 'patient' leave"
    ):
        read_texts(DataConfig(source=str(path), group="patient"))


def test_what_the_splits_have_is_told_and_warned_of_where_it_is_far_from_what_was_asked_for(tmp_path):
    def told(groups, **sizes):
        path = write(tmp_path / "r.csv", rows_of(groups))
        texts = read_texts(DataConfig(source=str(path), group="patient", **sizes))
        [found] = [f for f in texts.findings if f.kind == "groups"]
        return found.severity, found.message

    assert told([f"p{i // 4}" for i in range(200)]) == (
        "note",
        "no group of column 'patient' stands in two splits: train 120 texts of 30, validation 40 texts of 10, test 40 texts of 10",
    )
    assert told([f"p{i // 25}" for i in range(100)], validation=40) == (
        "warning",
        "no group of column 'patient' stands in two splits: train 25 texts of 1, validation 50 texts of 2, test 25 texts of 1; "
        "whole groups came no nearer to test 20, validation 40",
    )


def test_training_is_thinned_to_the_size_asked_for_within_its_groups(tmp_path):
    path = write(tmp_path / "r.csv", rows_of([f"p{i // 4}" for i in range(200)]))
    config = DataConfig(source=str(path), group="patient", train=33, validation=41, test=39)
    assert [len(part) for part in read_texts(config).parts.values()] == [33, 40, 40]


def test_groups_that_are_the_same_number_are_one(tmp_path):
    rows = rows_of([f"{i // 4}" if i % 2 else f"{i // 4}.0" for i in range(200)])
    texts = read_texts(DataConfig(source=str(write(tmp_path / "r.csv", rows)), group="patient"))
    assert len(np.unique(texts.groups_N)) == 50


def test_other_groups_are_other_texts_and_absent_ones_change_no_fingerprint():
    rows = rows_of([f"p{i // 4}" for i in range(8)])
    without = [row._replace(group=None) for row in rows]
    prints = [
        Source(without, ()).fingerprint(),
        Source(rows, (), "line", "patient").fingerprint(),
        Source(rows_of([f"p{i // 2}" for i in range(8)]), (), "line", "patient").fingerprint(),
    ]
    assert len(set(prints)) == 3
    assert Source(rows, ()).fingerprint() == prints[0]


def test_the_groups_of_a_split_stand_beside_its_texts(tmp_path, tiny_encoder):
    path = write(tmp_path / "r.csv", rows_of([f"p{i // 4}" for i in range(200)]))
    config = DataConfig(source=str(path), group="patient")
    texts = read_texts(config)
    splits = load_splits(config, tiny_encoder.tokenizer, texts=texts)
    for name in SPLITS:
        names = [texts.rows[i].group for i in texts.parts[name]]
        numbers = getattr(splits, name).groups_N
        assert (
            len(set(zip(names, numbers.tolist(), strict=True))) == len(set(names)) == len(np.unique(numbers))
        )
    assert "groups" in [finding["kind"] for finding in describe_data(splits)["findings"]]
    plain = load_splits(DataConfig(source=str(path)), tiny_encoder.tokenizer)
    assert plain.train.groups_N is None


def test_a_class_whose_groups_all_went_to_other_splits_is_an_error_that_says_so():
    labels = [i // 50 for i in range(150)]
    groups_N = np.array(labels)  # each class is one group
    config = DataConfig(source="texts.csv", group="who")
    with pytest.raises(InputError) as error:
        split_rows(
            rows_of([str(g) for g in groups_N], labels=labels),
            groups_N,
            np.arange(150),
            config,
            groups_N=groups_N,
        )
    assert (
        ", which nothing can then learn: groups of column 'who' stay whole, and theirs went to other splits; add"
        in str(error.value)
    )
