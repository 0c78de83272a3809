# make demo   set everything up and run the reviews example to its verdict
# make check  set everything up and run formatter, linter, types, import contracts and tests
# PYTHON is the interpreter to start from (3.11 or newer); VENV is where things are installed.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := examples/reviews/need.yaml
# A worker that is done takes of what another has left, so that they end together.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: venv demo check check-all check-gpu style test bench messages clean

venv: $(STAMP)

# `python -m venv` needs ensurepip, which some distributions leave out; pip can fill the gap.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@[ ! -L $(VENV) ] || { echo "$(VENV) is a symbolic link, in which no environment is made: remove it."; exit 2; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	  && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# Exit status 1 says that a criterion is unmet or unproven: a verdict, not a failure of the demo.
demo: $(STAMP)
	@status=0; $(BIN)/sartor run $(DEMO) || status=$$?; \
	  [ $$status -le 1 ] || exit $$status; \
	  flag=''; [ $$status -eq 0 ] || flag='--unreleased '; \
	  bundle=$$(ls -td .sartor/bundles/reviews-* | head -n 1); \
	  printf '\nServe it:  %s/sartor serve %s%s\n' '$(BIN)' "$$flag" "$$bundle"

check: style test

check-all: style
	$(PYTEST) -m 'slow or not slow'

# Whatever trains, on the GPU of this machine; what forks cannot, once CUDA runs.
check-gpu: $(STAMP)
	SARTOR_TEST_GPU=1 $(PYTEST) tests/laws/test_methods.py tests/laws/test_tasks.py tests/tune \
	  --ignore tests/tune/test_killed.py

style: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

test: $(STAMP) | style
	$(PYTEST)

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Catalogues are read as they are; compiling one to nowhere checks it and counts what is missing.
messages: $(STAMP)
	@for catalogue in src/sartor/*/locale/*.po; do \
	  $(BIN)/pybabel compile --statistics --input-file "$$catalogue" --output-file /dev/null \
	    --locale "$$(basename "$$catalogue" .po)" || exit $$?; \
	done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
