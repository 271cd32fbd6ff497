import pytest
from headless import Chromium, executable
from report_sample import known_facts, simulate

from isoscale._report.page import render


@pytest.fixture(scope="session")
def runs():
    return simulate(optimizers=("adamw", "sgd"))


@pytest.fixture(scope="session")
def known(runs):
    return known_facts(runs, reproduce=("isoscale sweep spec.toml", "isoscale report runs.sqlite"))


@pytest.fixture(scope="session")
def page(known):
    return render(known)


@pytest.fixture(scope="session")
def browser():
    path = executable()
    if path is None:
        pytest.skip("no Chromium here: install one (apt-get install chromium) to look at the report in a browser")
    chromium = Chromium(path)
    yield chromium
    chromium.close()
