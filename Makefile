# Every target makes .venv and installs what it needs when that is missing, or pyproject.toml or
# constraints.txt has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The versions that all of this is known to work with; `CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt

.PHONY: demo benchmark benchmark-speed fuzz compatibility test test-browser test-long test-gpu test-scale test-lowest coverage \
	lint lint-workflows wheel package changelog release constraints matrix ci-full docs clean

demo: $(VENV)/.installed-demo
	$(BIN)/python -m examples.quickstart

# The papers' experiments on the images that come with packages; goes on where it was interrupted. FLAGS=--fast is short.
benchmark: $(VENV)/.installed-benchmark
	$(BIN)/python -m examples.benchmarks $(FLAGS)

# What it costs: docs/performance.md from rows, some hours on a machine with nothing else to do; goes on where it was
# interrupted. FLAGS="--only speed --again" measures some of it, FLAGS=--page writes the page from the rows that are there.
benchmark-speed: $(VENV)/.installed-benchmark
	$(BIN)/python -m examples.benchmarks.performance $(FLAGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n 2

# The benchmark's runner and verdicts, parts of the campaign below, and what else takes more than some seconds.
test-long: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n 2 -m long tests

# Odd values, damaged files, flipped bits, kills, for a quarter of an hour; the counts become docs/robustness.md.
fuzz: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --minutes 15 --seed 0 --page docs/robustness.md

# Which models work: every row of docs/models.md is what is found. python -m tests.compatibility --page writes it anew.
compatibility: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m compatibility tests/compatibility

# Runs that are killed again and again, and a Ray cluster on this machine: some minutes.
test-scale: $(VENV)/.installed-test $(VENV)/.installed-ray
	$(BIN)/python -m pytest -q -m scale tests/scale

# The page of runs, and the site if `make docs` has built it, in a real Chromium (apt-get install chromium).
test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest -q -m browser tests/integrations/viewer tests/docs

# What only a GPU can show; without one, the same numbers on the CPU, which shows that the tests themselves work.
test-gpu: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -m gpu tests/gpu

# The oldest supported versions, for which wheels of Python 3.10 to 3.12 exist.
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest -q -n 2

.venv-lowest/.installed: tests/lowest.txt pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --requirement tests/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --editable ".[test]" --constraint tests/lowest.txt
	@touch $@

# Which lines the suite runs: a table, and pages in outputs/coverage. A figure to look at, not a goal.
coverage: $(VENV)/.installed-coverage
	$(BIN)/python -m pytest -q -n 2 --cov --cov-report=term:skip-covered --cov-report=html:outputs/coverage

# Pythons, oldest and newest dependencies, extras one by one (noxfile.py): hours. FLAGS="-s suite-3.13" is one of them.
matrix: $(VENV)/.installed-matrix
	$(BIN)/python -m nox $(FLAGS)

# Everything: what a commit has to pass, what a release has to, and the matrix.
ci-full:
	.ci/run
	$(MAKE) benchmark FLAGS=--fast
	$(MAKE) package
	$(MAKE) matrix

lint: $(VENV)/.installed-test $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The site, in docs/_build/html: offline, the examples run, warnings are errors. FLAGS="-D plot_gallery=0" runs none.
docs: $(VENV)/.installed-docs
	OMP_NUM_THREADS=2 $(BIN)/python -m sphinx -W --keep-going -b html $(FLAGS) docs docs/_build/html

# Wheel and sdist in dist/package, twice and bit for bit the same; what is in them, what PyPI says, what types it has, an SBOM.
package: $(VENV)/.installed-release
	$(BIN)/python .ci/package.py dist/package

# The workflows of GitHub.
lint-workflows: $(VENV)/.installed-workflows
	$(BIN)/actionlint
	$(BIN)/zizmor --offline --quiet .github

# What the next release's entry in the changelog is so far.
changelog: $(VENV)/.installed-release
	$(BIN)/towncrier build --draft --version next

# The files of a release; CONTRIBUTING.md says what is typed before and after. VERSION=0.2.0
release: $(VENV)/.installed-release
	$(BIN)/python .ci/release.py $(VERSION)

# constraints.txt anew, as far as pyproject.toml asks for it; FLAGS=--upgrade takes the newest of everything.
constraints: $(VENV)/.installed-matrix
	UV_CUSTOM_COMPILE_COMMAND="make constraints" $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --all-extras \
		--no-annotate --no-emit-index-url $(FLAGS) --output-file constraints.txt pyproject.toml

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) .venv-lowest .nox .coverage docs/_build docs/gallery docs/reference docs/messages.md dist outputs .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]" $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
