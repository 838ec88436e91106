# Each of `make book`, `make course`, `make test`, `make lint`, `make bench` and `make fuzz` sets up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What `make bench` inverts: digits, or DATA=folder:PATH.
DATA ?= digits
# More for it, such as ARGS="--only quality --images 128 --output FILE".
ARGS ?=

# Inputs that `make fuzz` tries; more for it, such as ARGS="--only folders --seed 1".
COUNT ?= 100000

.PHONY: book pdf course test lint bench fuzz audit clean

book: $(VENV)/.ready
	$(BIN)/stir book

# The book as one file, _build/book.pdf, to which its pages lead from then on; needs Chromium.
pdf: book
	$(BIN)/python -m stir.book.pdf

# What a class is handed out: notebooks, networks that nobody has to train, slides; into _build/course.
course: $(VENV)/.ready
	$(BIN)/stir course write

# Two at a time, each file in one process, in the order of tests/conftest.py. One thread: networks this small gain
# nothing from a second, and on a busy machine they lose by it. Where a test wants more, threads that spin lose badly to
# any other busy process.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Without the variable pyright asks npm for a newer version each time.
lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

# Both threads, which spin a little longer than in `make test`: a fifth faster on a quiet machine, and two fifths slower on a busy one.
bench: $(VENV)/.ready
	GOMP_SPINCOUNT=5000 $(BIN)/python tests/benchmarks/run.py --data '$(DATA)' $(ARGS)

# Random inputs of what users write, judged by references; some twenty minutes for 100,000 on a busy core.
fuzz: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --count $(COUNT) $(ARGS)

# Known vulnerabilities of the pinned packages; in an environment of its own, with a network.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --upgrade pip-audit
	$(VENV)-audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, not %d.%d; run make with PYTHON=python3.11" % sys.version_info[:2] if not (3, 11) <= sys.version_info < (3, 14) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf _build book/runs $(VENV)-audit
