"""What every trial of a search may ask for, made ready and noted in the study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from search.study import attributes as attr
from trainers.config import Device

if TYPE_CHECKING:
    import optuna

    from search.study import StudySpec
    from search.trials import Live
    from trainers.data import Texts
    from trainers.fit import Features


def prepare_and_note(
    study: optuna.Study, spec: StudySpec, live: Live, device: Device
) -> tuple[Features, Texts]:
    """Prepare what every trial may ask for, and leave in the study what was found."""
    from search.interrupts import held_back
    from search.study import recipe_depths
    from search.trials import prepare

    began = time.monotonic()

    def depths(num_layers: int) -> Iterator[int]:
        yield from spec.depths()
        if spec.starts_from_vectors():
            yield num_layers
        for name in spec.recipes.enqueue:
            yield from recipe_depths(name, num_layers=num_layers)

    features, data, texts = prepare(study, spec, live, device, depths=depths)
    known = {
        # Again: a launcher that was refused the lease may have opened the study meanwhile, with other settings.
        attr.SPEC: spec.model_dump(mode="json"),
        **_peak(study, spec, features),
        attr.NUM_LAYERS: features.encoder.num_layers,
        attr.PRECISION: features.precision,
        attr.ENCODER_REVISION: features.encoder.revision,
        attr.ENCODER_SHA256: features.encoder.fingerprint,
        attr.CACHE_BYTES: features.num_bytes(),
        attr.PREPARATION_SECONDS: study.user_attrs.get(attr.PREPARATION_SECONDS, 0.0)
        + time.monotonic()
        - began,
        attr.DATA: data,
    }
    with held_back():
        for key, value in known.items():
            study.set_user_attr(key, value)
    return features, texts


def _peak(study: optuna.Study, spec: StudySpec, features: Features) -> dict[str, float]:
    """Return what the processor can do at its best, to be kept with the study; a GPU is not held against it."""
    from search.trials import known_peak_flops
    from trainers.fit import default_cache_directory

    if features.encoder.device != "cpu":
        return {}
    directory = spec.cache.directory or default_cache_directory()
    peak = known_peak_flops(directory, precision=features.precision)
    return {attr.PEAK_FLOPS: max(peak, study.user_attrs.get(attr.PEAK_FLOPS, 0.0))}


def enqueue(study: optuna.Study, spec: StudySpec, names: Sequence[str], *, num_layers: int) -> None:
    """Put recipes that the study has not seen yet before the search."""
    from search.study import recipe_params

    seen = {t.user_attrs.get(attr.RECIPE) for t in study.get_trials(deepcopy=False)}
    for name in names:
        if name not in seen:
            study.enqueue_trial(
                recipe_params(name, spec, num_layers=num_layers), user_attrs={attr.RECIPE: name}
            )
