"""A score of rarity and a threshold that follows alarms: one scale, the rate, what is found."""

import numpy as np
import pytest
from scipy.stats import expon, gamma, kstest

from seqlatent.tasks.alarms import calibration, first_threshold, intervals, num_alarms
from seqlatent.tasks.following import GAIN, LEAST, Follower, follow
from seqlatent.tasks.novelty import novelty_quantile
from seqlatent.tasks.recent import RAREST, Recent


def drifting(num: int, change: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """N(0, 1) values under noise of 1 for 2,000 steps, and that changes in the `num` after; and
    their surprise under N(0, 1)."""
    t = np.linspace(0, 1, num)
    sd = {
        "none": 1 + 0 * t,
        "growth": 3**t,
        "shift": np.where(t < 0.5, 1, 2),
        "shrinks": 3**-t,
    }[change]
    e = np.random.default_rng(seed).normal(size=2_000 + num) * np.append(np.ones(2_000), sd)
    return e, 0.5 * e**2 + 0.5 * np.log(2 * np.pi)


def judged(x: np.ndarray, v: np.ndarray, rate: float, memory: int = 2_000, half_life: float = 8.0):
    """What comes after the first 2,000 steps, which it begins with."""
    c = calibration([v[:2_000]], rate, half_life, "noise", memory, [x[:2_000, None]], (0,))
    return follow(c, v[2_000:], x[2_000:, None])


def runs(alarm: np.ndarray) -> int:
    return len(intervals(alarm, np.ones(len(alarm), dtype=bool), 0))


# -- the last numbers ------------------------------------------------------------------------------


def test_rarity_is_its_definition():
    """In range by counting, beyond it by the mean excess of the greatest 2 %, of the last 500."""
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=900).round(1)  # with ties
    recent = Recent(500, x[:200])
    for number in x[200:]:
        recent.add(number)
    last = np.sort(x[-500:])
    for number in [*last[[0, 100, 250, 480, 499]], 0.05, 30.0, 60.0, -30.0]:
        for sign, found in ((1, recent.high(number)), (-1, recent.low(number))):
            y, known = sign * number, np.sort(sign * last)
            if y <= known[-1]:
                expected = -np.log((1 + (known >= y).sum()) / 501)
            else:
                w = known[-10:].mean() - known[-11]
                expected = min(np.log(501) + (y - known[-1]) / w, RAREST)
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("law", ["normal", "exponential", "standard_cauchy"])
def test_rarity_of_what_goes_on_as_before_is_exponential(law):
    """Whatever the law of the numbers. 20,000 of them: the distance of Kolmogorov and Smirnov has a
    95 % point of 0.0096 beside steps of 1 / 1001."""
    x = getattr(np.random.default_rng(1), law)(size=21_000)
    recent, found = Recent(1_000, x[:1_000]), []
    for number in x[1_000:]:
        found.append(recent.high(number))
        recent.add(number)
    assert kstest(found, expon.cdf).statistic < 0.0096 + 0.001
    assert np.mean(np.array(found) > np.log(500)) == pytest.approx(0.002, abs=3 * 3.2e-4)


def test_few_numbers_and_equal_ones():
    assert Recent(100, range(49)).high(1e9) == Recent(100, range(49)).low(-1e9) == 0
    flat = Recent(100, [4.0] * 60)
    assert flat.high(4.0) == flat.low(4.0) == 0
    assert flat.high(4.1) == flat.low(3.9) == RAREST
    assert Recent(100, [0.0] * 60).high(1e-9) == RAREST


def test_the_first_threshold_is_a_quantile():
    for rate in (1e-4, 1e-3, 0.2, 0.9):
        assert novelty_quantile(rate, True) == pytest.approx(gamma(2).isf(rate), rel=1e-9)
        assert novelty_quantile(rate, False) == pytest.approx(expon.isf(rate))


# -- the rate --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["none", "growth", "shift", "shrinks"])
def test_the_rate_holds_where_surprise_drifts(change):
    """Asked 2 per thousand of 20,000 steps, 40 alarms, whose noise grows to three times what it
    was, doubles at once, or shrinks to a third. The threshold may lie lower in the end than it
    began, by at most its half, 9 alarms fewer, and higher by no more than 4 nats, 8 more. One that
    stays sounds at hundreds."""
    for seed in range(2):
        x, v = drifting(20_000, change, seed)
        alarm = judged(x, v, 2.0).excess > 0
        assert 31 <= alarm.sum() <= 48
        assert alarm.sum() == runs(alarm)
        stays = follow(calibration([v[:2_000]], 2.0, 8.0, "noise"), v[2_000:], x[2_000:, None])
        assert change in ("none", "shrinks") or (stays.excess > 0).mean() > 0.1


@pytest.mark.parametrize("rate", [0.5, 5.0, 20.0])
def test_the_number_of_alarms_is_what_the_threshold_has_moved_by(rate):
    """The sum of its steps, exactly: n = r T + (k_T - k_0) / 0.5, while k is above its least."""
    x, v = drifting(8_000, "growth", 4)
    follower = Follower(
        calibration([v[:2_000]], rate, 2.0, "noise", 1_000, [x[:2_000, None]], (0,))
    )
    first, alarms = follower.threshold, 0
    for surprise, value in zip(v[2_000:], x[2_000:], strict=True):
        alarms += follower.update(surprise, [value]).excess > 0
        assert follower.threshold > LEAST * first
    assert alarms == pytest.approx(8 * rate + (follower.threshold - first) / GAIN, abs=1e-6)


def test_it_begins_at_the_rate():
    """Fifty series of 2,000 steps whose values have come before, each after a calibration on
    as many: 100 alarms asked for. A calibration counts ten where two were asked for, so that k_0
    has an error near 0.4 nats, which costs more alarms where it is too low: up to half as many
    more."""
    alarms = 0
    for seed in range(50):
        x, v = drifting(2_000, "none", 100 + seed)
        c = calibration([v[:2_000]], 1.0, 8.0, "noise", 2_000, [x[:2_000, None]], (0,))
        alarms += int((follow(c, v, x[:, None]).excess[2_000:] > 0).sum())
    assert 75 < alarms < 160


def test_fresh_series_have_false_alarms_at_the_rate_of_held_out_ones():
    """Forty series of 500 steps of N(0, 1), surprise by the truth, after a calibration on as many:
    40 alarms asked for in each of six repeats. Poisson's error of their mean is 2.6, and a
    threshold from 40 alarms has one near 0.2 nats, that of a mean of six 3.3 alarms more."""
    found = []
    for seed in range(6):
        x = np.random.default_rng(seed).normal(size=(80, 500, 1))
        v = list(0.5 * x[..., 0] ** 2)
        c = calibration(v[:40], 2.0, 8.0, "noise", 2_000, list(x[:40]), (0,))
        fresh = [follow(c, *pair).excess for pair in zip(v[40:], x[40:], strict=True)]
        found.append(int((np.array(fresh) > 0).sum()))
    assert np.mean(found) == pytest.approx(40, abs=3 * np.hypot(2.6, 3.3))


def test_the_first_threshold_has_as_many_alarms_as_asked_for():
    """Exactly, of the scores it was found on, where ten or more are asked for; ten steps of 50 are
    surely more than one in a thousand, and the law of rarities adds what is missing."""
    score = np.random.default_rng(7).gamma(2, size=20_050)
    k = first_threshold(score, 1e-3, True)
    assert num_alarms(score[50:], k, 100) == 19  # k is the score of the twentieth
    assert k == pytest.approx(gamma(2).isf(1e-3), abs=0.7)
    few = first_threshold(score[:1_050], 1e-4, True)
    ten = first_threshold(score[:1_050], 1e-2, True)
    assert few - ten == pytest.approx(gamma(2).isf(1e-4) - gamma(2).isf(1e-2))


def test_a_small_alarm_does_not_hide_a_great_one():
    """Values of half a million times their spread come ten steps after an alarm; what is only a
    little rarer than that alarm waits for the rest's end."""
    x = np.random.default_rng(8).normal(size=(3_000, 1))
    x[2_000], x[2_005], x[2_010] = 6.0, 6.2, 5e5
    v = 0.5 * np.minimum(x[:, 0], 50.0) ** 2
    c = calibration([v[:1_000]], 1.0, 0.0, "noise", 2_000, [x[:1_000]], (0,))
    judged = follow(c, v, x).excess[1_000:]
    assert judged[1_000] > 0 and np.isnan(judged[1_005]) and judged[1_010] > 0
    assert np.isnan(judged[1_011:1_100]).all()
    assert num_alarms(np.array([9.0, 12.0, 17.0, 30.0, 0.0, 9.0]), 8.0, 4) == 2


def test_no_alarm_where_nothing_surprises():
    x, v = np.full((20_000, 1), 4.0), np.ones(20_000)
    c = calibration([np.ones(100)], 1.0, 8.0, "a constant", 500, [x[:100]], (0,))
    assert np.nanmax(follow(c, v, x).excess) < 0


# -- what is found ---------------------------------------------------------------------------------


def test_an_anomaly_is_found_after_drift():
    """A step of 8 deviations before the noise has grown, and one of 12 once it is three times as
    strong: there one of 8 would not be worth an alarm."""
    for seed in range(3):
        x, _ = drifting(20_000, "growth", 10 + seed)
        for late, found in ((36.0, True), (8.0, False)):
            x[[2_500, 21_500]] = 8.0, late
            excess = judged(x, 0.5 * x**2, 1.0).excess
            assert excess[500] > 0
            assert (excess[19_500] > 0) == found


def test_a_level_that_is_left_step_by_step_is_found_by_values_alone():
    """The model is never surprised, and the values go where they have not been; without channels
    nothing is found."""
    x = np.convolve(np.random.default_rng(5).normal(size=3_000), 0.8 ** np.arange(60))[:3_000]
    x[2_500:2_600] += 0.15 * np.arange(100)
    v = np.ones(3_000)
    for channels, found in (((0,), True), ((), False)):
        c = calibration([v[:1_000]], 1.0, 8.0, "noise", 2_000, [x[:1_000, None]], channels)
        alarm = follow(c, v, x[:, None]).excess > 0
        assert alarm[2_500:2_600].any() == found
        assert alarm[2_000:2_500].sum() < 3


def test_of_many_channels_the_rarest_counts():
    """Of 4 channels one is 12 deviations out; the score is its rarity less log 8."""
    x = np.random.default_rng(6).normal(size=(1_000, 4))
    x[900, 2] = 12.0
    c = calibration([np.ones(100)], 1.0, 8.0, "noise", 2_000, [x[:100]], (0, 2, 3))
    found = follow(c, np.ones(1_000), x)
    assert found.score[900] == pytest.approx(Recent(2_000, x[:900, 2]).high(12.0) - np.log(6))
    assert found.excess[900] > 0
    c = calibration([np.ones(100)], 1.0, 8.0, "noise", 2_000, [x[:100]], (0, 3))
    assert follow(c, np.ones(1_000), x).score[900] < 5
