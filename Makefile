# Everything a newcomer needs: `make demo` and `make test` set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.dev
# One torch thread a process: small models run faster so, and pytest-xdist already uses the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test zoo stack check bench faults docs clean
help:
	@sed -n 's/^## //p' Makefile

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "isoscale needs Python 3.11 or newer; run make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

## make setup   .venv with isoscale and its development tools
setup: $(STAMP)

## make demo    the main job on handwritten digits: sweep, verdict, report.html (under five minutes on two cores)
demo: $(STAMP)
	$(BIN)/isoscale demo

## make test    all tests
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal

## make zoo     tracing and planning of timm's and Hugging Face's architectures, built from configs (nothing downloaded but packages)
zoo: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt transformers
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps timm
	$(BIN)/python -m pytest -n auto --dist worksteal -m zoo tests/zoo

## make stack   clusters, trainers, samplers and trackers people use: Ray, Lightning, Accelerate, HF Trainer, Optuna, W&B, ...
stack: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[ray,optuna,trainers,exports]' 'dask[distributed]'
	$(BIN)/python -m pytest -m stack tests/stack

## make check   ruff, mypy, and the mutants of the rules (each must kill a test)
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/house
	$(BIN)/python tests/mutants.py

## make bench   every benchmark, as ratios in one run
bench: $(STAMP)
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

## make faults  kill -9, broken files and hostile names by the thousand (half an hour)
faults: $(STAMP)
	for script in fuzz names kills; do echo "== $$script"; $(BIN)/python bench/faults/$$script.py || exit 1; done

## make docs    the documentation, warnings are errors
docs: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build demo report.html
