# `make demo` and `make test` do everything, from a fresh clone on. Where a ROS 2 is sourced they use it; otherwise ROS 2 Jazzy comes
# from Python wheels into .venv. Nothing is installed outside of .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The ROS 2 to use: the sourced distribution's name, or `wheels`.
SEES_ROS := import importlib.util as u, sys; sys.exit(sys.prefix != sys.base_prefix or u.find_spec("rclpy") is None)
ROS := $(or $(ROS_DISTRO),$(shell $(PYTHON) -c '$(SEES_ROS)' 2>/dev/null && echo system),wheels)

INSTALLED := $(VENV)/.installed-$(ROS)
MESSAGES := depth_retrofit_ros/msg/__init__.py
KERNELS := $(VENV)/.kernels

.PHONY: help setup messages demo test coverage golden lint format docs figures pictures site dist build clean distclean
.DEFAULT_GOAL := setup

help:
	@echo "make            set up $(VENV) (ROS 2: $(ROS)), generate the messages, compile the kernels"
	@echo "make demo       the live graph on the embedded default, with a live page; a moving picture and figures in out/demo"
	@echo "make test       lint, types and all tests"
	@echo "make coverage   all tests, and which lines they run; pages in out/coverage/html"
	@echo "make golden     stores the pictures of test/golden anew: look at them before you commit"
	@echo "make lint       lint and types only;  make format  applies the formatting"
	@echo "make docs       the parameter tables of docs/node.md and config/ from the node's own"
	@echo "make figures    the README's table of figures, from benchmarks/results"
	@echo "make pictures   docs/images/demo.webp and edges.jpg, and real.jpg where DEPTH_RETROFIT_SHARED has bags/, photos/ and weights/"
	@echo "make site       the pages of docs/ as HTML, every link checked: out/site/index.html"
	@echo "make dist       wheel and sdist, in out/dist"
	@echo "make build      colcon build of this package (needs a sourced ROS 2 with colcon)"
	@echo "make clean      remove what was generated;  make distclean  also $(VENV)"

setup: $(INSTALLED) $(MESSAGES) $(KERNELS)

messages: $(MESSAGES)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt scripts/setup_venv.sh
	scripts/setup_venv.sh $(VENV) $(PYTHON) $(ROS)

$(MESSAGES): $(wildcard msg/*.msg) CMakeLists.txt package.xml scripts/build_messages.sh $(INSTALLED)
	scripts/build_messages.sh $(VENV)

# Once, so that no first run waits for it; kernels whose source has changed since are compiled by whoever needs them.
$(KERNELS): $(INSTALLED)
	$(BIN)/depth-retrofit kernels
	touch $@

demo: setup
	$(BIN)/depth-retrofit demo --out out/demo

lint: $(INSTALLED) $(MESSAGES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Plugins are named, because a sourced ROS brings its own for an older pytest.
PYTEST := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -p pytest_timeout

# A file's tests stay in one process, which shares what it has loaded and compiled; each process has a ROS domain of its own.
# The types are checked while the kernels are compiled: each takes one core, for a minute.
test:
	$(MAKE) --no-print-directory --jobs=2 lint setup
	$(PYTEST) -p xdist -n auto --maxprocesses 4 --dist loadfile

# Also of the processes that tests start (pyproject.toml): a node, a player, a command.
coverage: setup
	rm -rf out/coverage
	mkdir -p out/coverage
	COVERAGE_FILE=$(CURDIR)/out/coverage/data PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
		$(BIN)/python -m coverage run -m pytest -p pytest_timeout
	COVERAGE_FILE=out/coverage/data $(BIN)/python -m coverage combine -q out/coverage
	COVERAGE_FILE=out/coverage/data $(BIN)/python -m coverage report
	COVERAGE_FILE=out/coverage/data $(BIN)/python -m coverage html -q -d out/coverage/html

golden: setup
	UPDATE_GOLDEN=1 $(PYTEST) -q test/test_golden_pictures.py -k stored_one

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

figures: setup
	$(BIN)/python benchmarks/accuracy_table.py --readme README.md

docs: setup
	$(BIN)/python -m depth_retrofit_ros.ros.node.parameter_docs

DATA := $(DEPTH_RETROFIT_SHARED)
REAL := $(if $(DATA),--bag $(DATA)/bags/d435_tabletop --photos $(DATA)/photos --meter $(DATA)/weights/meter)

pictures: demo
	cp out/demo/moving.webp docs/images/demo.webp
	$(BIN)/python benchmarks/make_pictures.py --out docs/images $(REAL)

# Strict: a link to a page, an anchor or a picture that is not there is an error, and so is anything taken from the network.
SITE := $(VENV)/.installed-site
$(SITE): $(INSTALLED) constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

site: $(SITE)
	rm -rf out/site
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs auto -b html -c docs -d out/site-work . out/site
	$(BIN)/python scripts/check_site.py out/site

dist: setup
	$(BIN)/python -m build --outdir out/dist

build:
	@command -v colcon > /dev/null || { echo "colcon is missing: source ROS 2 and apt install python3-colcon-common-extensions" >&2; exit 1; }
	colcon build --symlink-install --packages-select depth_retrofit_ros

clean:
	rm -rf build install log .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	rm -f $(KERNELS)
	rm -rf depth_retrofit_ros/msg depth_retrofit_ros/depth_retrofit_ros_s__*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
