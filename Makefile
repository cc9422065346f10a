# `make sweep` and `make test` set up .venv on a fresh machine and then do their job; options: make sweep ARGS="--seeds 1".

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
ARGS ?=

.PHONY: sweep watch test lint bench tensorboard
sweep: $(VENV)/.installed
	$(RUN) sweep.py $(ARGS)

watch: $(VENV)/.installed
	$(RUN) sweep.py --watch $(ARGS)

# All of them, the long ones and those of the extras too; `$(RUN) -m pytest` alone is, from then on, the everyday run.
test: $(VENV)/.installed $(VENV)/.extras
	$(RUN) tests/run_all.py $(ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --disable-pip-version-check ruff==0.17.6
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: $(VENV)/.installed
	$(RUN) benchmarks/compare.py $(ARGS)

tensorboard: $(VENV)/.installed
	$(VENV)/bin/tensorboard --logdir logs

# What an extra of pyproject.toml names, without the project itself.
extra = $(RUN) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$(1)'], sep='\n')" > $@.txt && \
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $@.txt

# Where a package of the others cannot be had, the tests that need it are skipped and say so.
$(VENV)/.extras: pyproject.toml $(VENV)/.installed
	$(call extra,test)
	for extra in export app ray; do $(call extra,$$extra) || echo "the extra $$extra is not installed"; done
	touch $@

# TensorFlow with CUDA where an NVIDIA GPU answers.
$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed: make PYTHON=python3.12" if not (3, 11) <= sys.version_info[:2] <= (3, 13) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	if nvidia-smi -L >/dev/null 2>&1; then $(VENV)/bin/pip install --quiet --disable-pip-version-check 'tensorflow[and-cuda]>=2.21,<2.22'; fi
	touch $@
