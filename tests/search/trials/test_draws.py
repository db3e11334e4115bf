import pytest

from search.trials.draws import NUM_DRAWS, SHARE, Draws


def said(draws, *, seconds, fits=(60.0,) * 5, num_workers=512, times=1):
    return [draws.took(seconds, fits=fits, num_workers=num_workers) for _ in range(times)]


def test_it_is_said_once_that_workers_wait_for_the_sampler():
    sentences = said(Draws(), seconds=0.3, times=3 * NUM_DRAWS)
    assert [place for place, sentence in enumerate(sentences) if sentence] == [NUM_DRAWS - 1]
    assert sentences[NUM_DRAWS - 1] == (
        "the sampler, TPE, takes 0.3 s for a setup by now, since it learns from every trial, and with 512 workers a fit ends every "
        "0.12 s: they wait for it. Under [sampler] of the TOML file, history = 1000 bounds what it learns from, and "
        'kind = "sobol" learns nothing; stop the search, set one of them, and give the same command again'
    )


@pytest.mark.parametrize(("share", "is_said"), [(SHARE * 0.99, False), (SHARE * 1.01, True)])
def test_workers_wait_where_draws_take_half_of_the_time_between_two_ends(share, is_said):
    sentences = said(Draws(), seconds=share * 10.0 / 8, fits=(10.0,), num_workers=8, times=NUM_DRAWS)
    assert any(sentences) is is_said


def test_a_few_slow_draws_say_nothing():
    draws = Draws()
    for _ in range(5):
        assert not any(said(draws, seconds=0.001, times=11) + said(draws, seconds=9.0, times=9))


def test_nothing_is_said_before_a_fit_has_ended():
    assert not any(said(Draws(), seconds=9.0, fits=(), times=2 * NUM_DRAWS))


def test_the_latest_fits_count():
    fits = [1.0] * 200 + [600.0] * 100
    assert not any(said(Draws(), seconds=0.3, fits=fits, times=NUM_DRAWS))
    assert any(said(Draws(), seconds=0.3, fits=fits[:200], times=NUM_DRAWS))
