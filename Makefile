# make demo    from a bare machine to a model that keeps what it learnt
# make test    the whole suite
# make check   format, lint, types, import contracts
# make bench   how fast it is: about eleven minutes on two cores, ends with the targets
# make wheel   build the wheel and start it in a clean environment

VENV ?= .venv
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := $(VENV)/bin
INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check) -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test check format bench wheel constraints clean

demo: $(VENV)/.installed
	$(BIN)/lorastream run digits --methods sequential_lora,sd_lora
	@echo "The frozen backbone with the mean feature of every class, for comparison:"
	$(BIN)/lorastream run digits --methods prototypes --quiet

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/bench.py

wheel: $(VENV)/.installed-dev
	rm -rf build/wheel dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(if $(UV),$(UV) venv build/wheel,$(PYTHON) -m venv build/wheel)
	$(if $(UV),$(UV) pip install --python build/wheel/bin/python,build/wheel/bin/python -m pip install --disable-pip-version-check) -c constraints.txt dist/*.whl
	cd build && wheel/bin/lorastream --help && wheel/bin/lorastream list && wheel/bin/lorastream doctor

constraints: $(VENV)/.installed-dev
	$(BIN)/python scripts/refresh_constraints.py

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(if $(UV),$(UV) venv --python '>=3.11' $(VENV),$(PYTHON) -m venv $(VENV))

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.installed
