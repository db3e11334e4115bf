import pytest

from search.trials.cluster.options import ClusterOptions
from trainers.errors import InputError


@pytest.mark.parametrize(
    ("options", "device", "words"),
    [
        (
            {"cpus_per_trial": 1},
            "auto",
            "--cpus-per-trial is of a cluster, and there is none; give --cluster",
        ),
        (
            {"gpus_per_trial": 0},
            "auto",
            "--gpus-per-trial is of a cluster, and there is none; give --cluster",
        ),
        ({"cluster": "auto", "cpus_per_trial": 0}, "auto", "--cpus-per-trial must be above 0, got 0"),
        (
            {"cluster": "auto", "cpus_per_trial": float("nan")},
            "auto",
            "--cpus-per-trial must be above 0, got nan",
        ),
        ({"cluster": "auto", "gpus_per_trial": -1}, "auto", "--gpus-per-trial must be 0 or more, got -1"),
        (
            {"cluster": "auto", "gpus_per_trial": 1.5},
            "auto",
            "--gpus-per-trial above 1 must be a whole number, got 1.5",
        ),
        ({"cluster": "auto"}, "cuda", "--device is of this machine, and with --cluster others fit, got cuda"),
    ],
)
def test_what_is_no_resource_is_refused(options, device, words):
    with pytest.raises(InputError) as caught:
        ClusterOptions(**options).check(device=device)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "options", [{}, {"cluster": "auto"}, {"cluster": "h:1", "cpus_per_trial": 0.5, "gpus_per_trial": 0.25}]
)
def test_whole_numbers_and_fractions_of_one_are_resources(options):
    ClusterOptions(**options).check()
