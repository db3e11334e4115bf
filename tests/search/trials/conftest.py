import pytest

from trainers.encoder.loading import load_encoder
from trainers.fit.feature_building import build_features


@pytest.fixture(scope="session")
def features(tiny_splits, make_config, tmp_path_factory):
    """What the workers of a pool read. Nothing may change them."""
    return build_features(
        # Not the shared one: other tests run it whole, and transformers then hangs hooks into it that no pickle takes.
        load_encoder(make_config().encoder),
        tiny_splits,
        make_config(),
        depths=[1, 2, 3],
        directory=tmp_path_factory.mktemp("cache"),
        disk_bytes=2**30,
    )
