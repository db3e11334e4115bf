import numpy as np
import pytest

from trainers.fit.feature_building import build_features
from trainers.fit.holdout import predict_test
from trainers.fit.loop import fit
from trainers.model.classifier import assemble


@pytest.fixture(scope="module")
def features(tiny_encoder, tiny_splits, make_config, tmp_path_factory):
    return build_features(
        tiny_encoder,
        tiny_splits,
        make_config(),
        depths=[2, 3],
        directory=tmp_path_factory.mktemp("cache"),
        disk_bytes=2**30,
    )


@pytest.mark.parametrize("cache", ["float16", "float32"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_predictions_are_those_of_the_whole_model(features, make_config, depth, cache):
    config = make_config(freeze_depth=depth, cache=cache)
    result = fit(config, features)
    classifier = assemble(features.encoder, config, result, names=features.splits.class_names)
    test = features.splits.test
    expected = []
    for start, stop in zip(test.offsets_N1[:-1], test.offsets_N1[1:], strict=True):
        ids = test.ids_S[start:stop].astype(np.int64)
        padded = classifier.tokenizer.pad({"input_ids": [ids.tolist()]}, return_tensors="pt")
        logits = classifier.model(padded["input_ids"], padded["attention_mask"]).logits
        expected.append(int(logits.argmax()))
    assert predict_test(config, features, result).tolist() == expected


def test_predictions_of_a_fit_from_stored_features_are_those_of_a_fit_without(
    tiny_encoder, tiny_splits, features, make_config, tmp_path
):
    config = make_config()
    bare = build_features(tiny_encoder, tiny_splits, config, depths=[], directory=tmp_path, disk_bytes=2**30)
    one, other = (predict_test(config, f, fit(config, f)) for f in (features, bare))
    assert one.tolist() == other.tolist()


def test_predicting_leaves_the_fit_as_it_was(features, make_config):
    config = make_config()
    result = fit(config, features)
    before = {k: v.clone() for k, v in result.network.state_dict().items()}
    predict_test(config, features, result)
    assert all((v == before[k]).all() for k, v in result.network.state_dict().items())
