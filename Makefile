# make demo    from a bare machine to a model that keeps what it learnt
# make test    the whole suite
# make check   format, lint, types, import contracts, unsafe calls, known vulnerabilities of what is installed
# make ray     a suite on a Ray cluster that the test starts itself, about half a minute
# make fuzz    some thousand damaged inputs, others every time; LORASTREAM_FUZZ=20000 make fuzz for more
# make survive the digits run killed at 25 random instants, for every method: hours; docs/resume.md has a short form
# make bench   how fast it is: about twelve minutes on two cores, ends with the targets
# make wheel   build the wheel and start it in a clean environment

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# uv installs five times as fast, and a second environment at once; pip where uv cannot reach what pip is set up for.
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
install = $(UV) pip install --python $(1)/bin/python -c constraints.txt $(2) || $(1)/bin/python -m pip install -c constraints.txt $(2)
SOURCES := pyproject.toml constraints.txt
# Where it is set, every process that is started compiles torch anew: 19 s of processor time in place of 7.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test chromium check fuzz ray format survive bench wheel constraints clean

demo: $(VENV)/.installed
	$(BIN)/lorastream run digits --methods sequential_lora,sd_lora,sd_lora_plus
	@echo "The frozen backbone with the mean feature of every class, for comparison:"
	$(BIN)/lorastream run digits --methods prototypes --quiet

test: $(VENV)/.installed-dev chromium
	$(BIN)/python -m pytest -n 2

# The browser of tests/browser, from Debian where we may install it; without one those tests are skipped, and say so.
CHROMIUM := DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver fonts-dejavu-core
chromium:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { $(CHROMIUM) || { apt-get update -qq && $(CHROMIUM); }; } >/dev/null 2>&1; then :; \
	else echo "No Chromium: tests/browser is skipped. As root: apt-get install -y chromium chromium-driver"; fi

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src
	$(BIN)/python scripts/audit.py

fuzz: $(VENV)/.installed-dev
	LORASTREAM_FUZZ=$${LORASTREAM_FUZZ:-2400} $(BIN)/python -m pytest -q -p no:xdist -o timeout=0 tests/fuzz/test_hostile_input.py

ray: $(VENV)/.installed-dev
	LORASTREAM_RAY=1 $(BIN)/python -m pytest -q -p no:xdist tests/unit/suites/test_on_ray.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/bench.py

survive: $(VENV)/.installed-dev
	$(BIN)/python tests/survival/survive.py

wheel: $(VENV)/.installed-dev
	rm -rf build/wheel dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python -m venv build/wheel
	$(call install,build/wheel,dist/*.whl)
	cd build && wheel/bin/lorastream --help && wheel/bin/lorastream list && wheel/bin/lorastream doctor

constraints: $(VENV)/.installed-dev
	$(BIN)/python scripts/refresh_constraints.py

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	uv venv --seed --python '>=3.11' $(VENV) 2>/dev/null || $(PYTHON) -m venv $(VENV)
	@[ -x $(UV) ] || $(BIN)/python -m pip install --quiet uv || echo "No uv to be had: installing with pip."

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	$(call install,$(VENV),-e .)
	touch $@

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(call install,$(VENV),-e '.[dev]')
	touch $@ $(VENV)/.installed
