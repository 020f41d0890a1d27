# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# Recordings: a folder that already has them, else the cache of `sonomyo data get`.
SONOMYO_DATA ?= $(wildcard $(abspath ../shared/data))
export SONOMYO_DATA
# BLAS threads fight with the tick for two cores, and results must not depend on their number.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: help demo test test-bindings lint clean  # not the benches: a phony target matches no pattern rule

help:
	@echo "make demo            the whole rig on real recordings: no hardware, GPU or network needed"
	@echo "make test            the whole test suite"
	@echo "make test-bindings   our TensorRT code beside TensorRT's own Python modules (downloads them)"
	@echo "make lint            ruff and mypy --strict"
	@echo "make bench-latency   sense-to-receiver latency, idle and under load (FULL=1: 10 minutes)"
	@echo "make bench-accuracy  the shipped models on recordings they never saw, beside baselines"
	@echo "make bench-grabber   what a video grabber's picture costs, beside OpenCV"
	@echo "make bench-bmode     the simulated scanner beside PyMUST, on the same scatterers"
	@echo "make bench-cnn       the ultrasound network: simulated cohort, real leg, segmenter, device (FULL=1: hours)"
	@echo "make bench-lfads     activation from EMG: every method on known activation and movement, and its cost (FULL=1: hours)"
	@echo "make bench-nmm       muscle physics beside OpenSim, deep muscles of simulated people, a hidden soleus (FULL=1: an hour)"
	@echo "make bench-encoder   what an encoder that stalls, or keeps other time, costs elbow-nmm"
	@echo "make bench-gpu       TensorRT engines on this machine's GPU: latency, our share of it, accuracy"
	@echo "make bench-export    every shipped network in fewer bits: size, speed, error, drift (FULL=1: drift of the slow ones)"
	@echo "make clean           remove the environment and everything generated"

demo: $(VENV)/.demo
	$(BIN)/sonomyo demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

test-bindings: $(VENV)/.dev
	$(BIN)/python -m pytest -m bindings -rs tests/export/trt_bindings

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench-%: $(VENV)/.dev
	$(BIN)/python -m bench.$*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Sonomyo needs Python 3.10 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "no venv module: sudo apt-get install python3-venv, then try again"; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
