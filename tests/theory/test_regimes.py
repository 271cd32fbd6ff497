"""Regimes of shapes agree with the exponents of `_rules`, and the practitioner's facts with the law they come from."""

import json
import math
from fractions import Fraction as F

import pytest

from isoscale._rules import phase
from isoscale.theory.regimes import BadShape, assess, distance, regime


@pytest.mark.parametrize("g", ["-1/2", "-1/4", "0", "1/4", "1/2", "3/4"])
@pytest.mark.parametrize("a", ["0", "-1/4"])
def test_a_shape_is_where_its_exponents_say(g: str, a: str) -> None:
    """D=16, L M = 2^20: rho = 2^16, so that an exponent of 1/4 is four octaves, far outside the factor of two."""
    rho = 2.0**16
    found = regime(16, 2**10, 2**10, 4 * rho ** float(F(a)), 4 * rho ** float(F(g)))
    expected = phase(F(g), F(a))
    assert found.kind == expected.regime
    assert found.g == pytest.approx(float(F(g)))
    assert found.initial_deviation == pytest.approx(rho ** float(expected.initial_deviation))
    if expected.local_update is not None:
        assert found.local_update == pytest.approx(rho ** float(expected.local_update))


def test_a_factor_of_two_counts_as_on_the_line_and_more_does_not() -> None:
    root = math.sqrt(64)
    assert regime(64, 64, 4096, sigma_v=1.9 * root).kind == "critical"
    assert regime(64, 64, 4096, sigma_v=2.2 * root).kind == "lazy ODE"
    assert regime(64, 64, 4096, sigma_v=root / 2.2).kind == "subcritical"


def test_outside_the_theory_is_said() -> None:
    found = regime(100, 3, 4)
    assert found.kind == "outside"
    assert "D = 100 > L M = 12" in found.sentences()[0]
    assert found.initial_deviation is None
    assert regime(12, 3, 4).kind != "outside"


def test_completep_is_alpha_sqrt_of_hidden_over_embedding_and_depth_mup_the_stochastic_line() -> None:
    """Fan-in initialisation: branch 1/L is critical iff M = Theta(D); branch 1/sqrt(L) is the SDE for any M."""
    for hidden in (64, 256, 4096):
        completep = assess(64, 32, hidden).regime
        assert 2**completep.to_critical == pytest.approx(math.sqrt(hidden / 64))
        depth_mup = assess(64, 32, hidden, depth_exponent=0.5).regime
        assert depth_mup.to_stochastic == pytest.approx(0, abs=1e-9)
        assert depth_mup.kind in ("lazy SDE", "critical")
    assert assess(64, 32, 64).regime.kind == "critical"
    assert assess(64, 32, 4096).regime.kind == "lazy ODE"
    assert assess(64, 32, 64, depth_exponent=0.0).regime.kind == "explosive"


def test_the_cheapest_proxy_halves_the_distance_and_nothing_cheaper_does() -> None:
    found = assess(256, 24, 1024, proxy=(64, 4, 64))
    assert found.cheapest is not None
    assert found.deeper is not None
    assert found.wider is not None
    for option in (found.cheapest, found.deeper, found.wider):
        assert option.total <= found.proxy.total / 2
        assert option.cost >= found.cheapest.cost
    best = found.cheapest
    scale = 2.0**found.regime.to_critical
    for L in range(1, 17):
        M = (best.cost - 1) // (64 * L)
        assert M < 1 or distance(64, L, M, alpha=scale).total > found.proxy.total / 2


def test_facts_are_json_and_sentences_speak() -> None:
    found = assess(1024, 48, 4096, proxy=(128, 6, 512))
    assert json.loads(json.dumps(found.facts()))["regime"] == "critical"
    text = " ".join(found.sentences())
    assert "the proxy (D=128" in text
    assert "cheapest" in text
    assert "eta = 1" in text
    assert "outside the law's validity" in assess(64, 32, 64, depth_exponent=0.0).validity


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: regime(0, 3, 4), "D = 0"),
        (lambda: regime(4, 3, 4, sigma_v=0.0), "sigma_v = 0.0"),
        (lambda: regime(4, 3, 4, sigma_u=float("nan")), "sigma_u = nan"),
        (lambda: assess(4, 0, 4), "all at least 1"),
        (lambda: assess(4, 4, 4, proxy=(1, 0, 1)), "all at least 1"),
        (lambda: distance(4, 4, 4, steps=7), "measured at 1, 5, 10, 20"),
    ],
)
def test_bad_shapes(call: object, words: str) -> None:
    with pytest.raises(BadShape, match=words):
        call()  # type: ignore[operator]
