"""One fitted model in its directory with ``model.onnx``: an export costs seconds, whatever the model."""

import pytest


@pytest.fixture(scope="session")
def classifier(tiny_encoder, tiny_splits, make_config):
    """A fitted classifier. Nothing may change it."""
    from trainers.fit.features import Features
    from trainers.fit.loop import fit
    from trainers.model.classifier import assemble

    config = make_config(epochs=1)
    result = fit(config, Features(tiny_encoder, tiny_splits))
    return assemble(tiny_encoder, config, result, names=("negative", "positive"))


@pytest.fixture(scope="session")
def saved_with_onnx(classifier, tmp_path_factory):
    """Its directory with model.onnx in it. Nothing may change it."""
    from trainers.model.classifier import save

    folder = tmp_path_factory.mktemp("onnx") / "model"
    save(classifier, folder, onnx=True)
    return folder
