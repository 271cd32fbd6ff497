"""The mutants' harness itself: it calls a survivor a survivor, and no row of its table has lost its token."""

import mutants
import pytest


def test_every_token_is_found_exactly_once() -> None:
    assert mutants.misplaced(mutants.MUTANTS) == []
    gone = mutants.Mutant("_rules/power.py", "no such token", "", (mutants.POWER,))
    twice = mutants.Mutant("_rules/power.py", "Fraction(0)", "", (mutants.POWER,))
    assert len(mutants.misplaced([gone, twice])) == 2


def test_a_change_that_no_test_sees_is_a_survivor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harmless = mutants.Mutant("_rules/power.py", "Exact monomials of growth", "Monomials of growth", (mutants.POWER,))
    monkeypatch.setattr(mutants, "MUTANTS", (harmless,))
    assert mutants.main() == 1
    assert "SURVIVED" in capsys.readouterr().out
