# Each target first makes the environment it needs, so each works alone from a clean clone.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin

NOTEBOOKS := 01_data_prep 02_pretrain_fi 03_finetune 04_ablations 05_tables
# The notebooks' default for STUDY too, so that a notebook run by hand finds the same runs.
DATA_NAME   = $(shell cd '$(DATA)' 2>/dev/null && basename "$$PWD")
ON_DATA     = -r profile '$(PROFILE)' -r data_root '$(DATA)' -r study '$(PAPER_STUDY)' -r datasets '$(DATASETS)' -r backbone '$(BACKBONE)' \
              -r weights '$(WEIGHTS)' -r overrides '$(OVERRIDES)' -r executor '$(or $(EXECUTOR),local)' -r device '$(or $(DEVICE),auto)'
RIVALS      = -r systems '$(SYSTEMS)' -r comparisons '$(COMPARISONS)'
PAPER_STUDY = $(or $(STUDY),$(PROFILE)-$(DATA_NAME)-$(or $(BACKBONE),$(BACKBONE_OF_$(PROFILE))))

# paper: Table 6. best: for accuracy, heads on a frozen backbone.
PROFILE ?= paper
BACKBONE_OF_paper := hrnet_w48
BACKBONE_OF_best  := tf_efficientnet_lite2
BACKBONE_OF_demo  := hrnet_w18_small

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Packages are compiled when first imported. Images that set this would compile torch in every process.
unexport PYTHONDONTWRITEBYTECODE
# The environment's own kernel, also where the user has installed another "python3" kernel.
export JUPYTER_PREFER_ENV_PATH := 1

.PHONY: help reproduce paper data-is-there test test-full bench gpu-check report findings readings regions transfer tasks verify reliability lab lab-test docs lint dist clean-demo

help:  ## this list
	@awk -F ':.*## ' '/^#: / { printf "\n%s\n", substr($$0, 4) } /^[a-z -]+:.*## / { printf "  make %-27s %s\n", $$1, $$2 }' Makefile

$(VENV)/.ready: requirements.txt pyproject.toml setup.py
	@python=$(BIN)/python; test -x $(BIN)/pip || python='$(PYTHON)'; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "emolib needs Python 3.11 or newer, and $$python is not; choose one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "$(VENV): installing requirements.txt, a few minutes and on Linux about 6 GB"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --no-compile -r requirements.txt  # Python compiles what it imports
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# $(call run_notebooks,names,study,parameters). -r passes strings: with -p, 2024_01 arrives as 202401.
define run_notebooks
@$(BIN)/python notebooks/run.py 'results/$(2)/notebooks' $(1) -- $(3)
endef

define WHAT_CAME_OUT
import sys
from emolib.study import words
print(words.what_came_out(sys.argv[1]))
endef
export WHAT_CAME_OUT

#: The two commands
reproduce: $(VENV)/.ready  ## notebooks 01-05, 07, 08 on the generated demo data, into results/demo/
	$(call run_notebooks,$(NOTEBOOKS) 07_regions 08_transfer,demo,-r profile demo)
	@$(BIN)/python -c "$$WHAT_CAME_OUT" results/demo

# A file's tests stay together: they share what they trained. Two at once fit any machine.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

test: $(VENV)/.ready  ## the tests, without the slow ones
	$(PYTEST)

#: Real pictures
# From the same words that the notebooks get: -r name value -r name value.
define WHAT_LIES_AHEAD
import sys
from emolib import Study
from emolib.study import ahead
given = dict(zip(sys.argv[2::3], sys.argv[3::3]))
rivals = {name: given.pop(name) for name in ("systems", "comparisons")}
ahead.everything_ahead(Study.configure(**given), **rivals)
endef
export WHAT_LIES_AHEAD

paper: data-is-there $(VENV)/.ready  ## 01-05 on real data, any of the sets, resumable: DATA=/data [PROFILE=best STUDY= BACKBONE= WEIGHTS= OVERRIDES= DATASETS= SYSTEMS= COMPARISONS= EXECUTOR= DEVICE=]
	@$(BIN)/python -c "$$WHAT_LIES_AHEAD" $(ON_DATA) $(RIVALS)
	$(call run_notebooks,$(filter-out 05%,$(NOTEBOOKS)),$(PAPER_STUDY),$(ON_DATA))
	$(call run_notebooks,$(filter 05%,$(NOTEBOOKS)),$(PAPER_STUDY),$(ON_DATA) $(RIVALS))
	@$(BIN)/python -c "$$WHAT_CAME_OUT" 'results/$(PAPER_STUDY)'

data-is-there:
	@test -d '$(DATA)' || { echo "DATA='$(DATA)' is not a folder; DATA=/data names the one that holds the sets" >&2; exit 1; }

readings regions transfer tasks: $(if $(DATA),data-is-there) $(VENV)/.ready  ## one notebook, 06, 07, 08 or 10, on demo data; with DATA=/data and the rest as for paper on those
	$(call run_notebooks,$(notdir $(basename $(wildcard notebooks/*_$@.ipynb))),$(if $(DATA),$(PAPER_STUDY),demo),$(if $(DATA),$(ON_DATA),-r profile demo))

gpu-check: $(VENV)/.ready  ## does everything work on this GPU? 7 minutes, into results/gpu/; ARGS='--only machine,steps'
	$(BIN)/python -m emolib.gpu_check $(ARGS)

#: What came out
report: $(VENV)/.ready  ## results/REPORT.md, every study's verdicts, from tables and run folders
	$(BIN)/python -m emolib report results

findings: $(VENV)/.ready  ## the table and the figures of the first page, into README.md and docs/, from results/
	$(BIN)/python docs/diagram.py
	$(BIN)/python -m pip install -q 'scikit-image>=0.25'  # which brings photographs
	$(BIN)/python docs/photographs.py
	$(BIN)/python docs/findings.py

verify: $(VENV)/.ready  ## does everything in results/ follow from the rest? DATA=/data: hold that copy against the runs too
	$(BIN)/python -m emolib verify results $(if $(DATA),--data-root '$(DATA)')

docs: $(VENV)/.ready  ## the documentation's pages, into site/
	$(BIN)/mkdocs build

lab: $(VENV)/.ready  ## JupyterLab on notebooks/; ARGS= adds options
	$(BIN)/jupyter-lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

#: For those who change the code
lint: $(VENV)/.ready  ## ruff, no outputs in notebooks/, who imports whom, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(BIN)/lint-imports
	$(BIN)/mypy

test-full: $(VENV)/.ready  ## all tests
	$(PYTEST) -m ""

lab-test: $(VENV)/.ready  ## all notebooks in a real JupyterLab in Chromium, pictures of them into lab/; needs a chromium
	$(BIN)/python -m pip install -q 'playwright>=1.50'
	$(BIN)/python tests/lab.py $(if $(wildcard results/demo/runs),--results results) $(ARGS)

dist: $(VENV)/.ready  ## a wheel and an sdist into dist/, once both have answered in an empty folder
	$(PYTEST) -m slow tests/test_release.py
	@mkdir -p dist; for kind in wheel sdist; do $(BIN)/python -c "import setuptools.build_meta as b; b.build_$$kind('dist')" || exit 1; done

bench: $(VENV)/.ready  ## speed, as ratios in one process, into results/bench/; DATA=/data: whole trainings on its twitter1/ too
	$(BIN)/python -m benchmarks.bench $(if $(DATA),--data '$(DATA)') $(ARGS)
	$(BIN)/python -m benchmarks.bench_systems
	$(BIN)/python -m benchmarks.bench_frozen
	$(BIN)/python -m benchmarks.bench_compile

reliability: $(VENV)/.ready  ## sweeps killed at 100 moments, 10,000 mutated pictures, 2,000 label files: into results/reliability.csv
	$(BIN)/python tests/chaos.py --trials 100 --results results/reliability.csv
	$(BIN)/python tests/fuzz.py --pictures 10000 --labels 2000 --results results/reliability.csv

clean-demo:  ## forget the demo's runs and data, so that reproduce trains again
	rm -rf results/demo/runs results/demo/networks results/demo/data
