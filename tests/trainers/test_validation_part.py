import numpy as np
import pytest

from trainers.validation_part import draw


def test_no_group_is_both_trained_on_and_stopped_by():
    texts = [f"text {i} of many" for i in range(60)]
    texts += texts[:3]  # of other groups, which so become one with those of the first texts
    labels_N = np.arange(len(texts)) % 2
    groups = np.array([f"p{i // 4}" for i in range(len(texts))])
    train, validation = draw(texts, labels_N, groups, classes=np.array([0, 1]), fraction=0.2, seed=0)
    assert len(validation) == pytest.approx(0.2 * len(texts), abs=3)
    assert not {*groups[train]} & {*groups[validation]}
    assert not {texts[i] for i in train} & {texts[i] for i in validation}
    assert np.bincount(labels_N[validation]).min() >= 0.4 * len(validation)
