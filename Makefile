# make demo   install into .venv and run the whole pipeline on slides drawn from a seed
# make help   list all targets

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo report docs atlas tnbc til test test-slow test-shared test-slurm test-conda test-spatialdata tiatoolbox test-tiatoolbox lint bench gpu-wheels arrangement schema clean
help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/ready ## create .venv with the pinned packages

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "Python 3.11 to 3.13 is needed: make PYTHON=python3.11 ..."'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip check
	touch $@

data/demo/slides.csv: roformermil/cohort/synthetic.py roformermil/cohort/synthetic_cells.py | .venv/ready
	rm -rf data/demo
	roformermil demo-slides data/demo

demo: data/demo/slides.csv ## run the whole pipeline on the demo slides and print the table
	snakemake --cores all
	@echo; cat results/summary.md; echo; echo "Results are in results/: summary.md, summary.csv, metrics.csv, demo/. Next: open results/report.html"

report: .venv/ready ## write how the results of `make demo` were made: results/snakemake_report.html
	snakemake --cores all --report results/snakemake_report.html

docs: .venv/ready ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo; echo "Open site/index.html; with search: mkdocs serve"

atlas: .venv/ready ## run the pipeline on the 20 real mini-slides of ../shared
	snakemake --cores all --configfile config/atlas.yaml
	@echo; cat results/atlas/summary.md

data/tnbc/slides.csv: config/datasets/tnbc.py | .venv/ready
	python config/datasets/tnbc.py data/tnbc

tnbc: data/tnbc/slides.csv ## learn how tumour and immune cells lie in 33 real breast cancers (10 minutes)
	snakemake --cores all --configfile config/tnbc.yaml
	@echo; cat results/tnbc/summary.md; echo; echo "Results are in results/tnbc/. Open results/tnbc/report.html"

data/til/er.csv: config/datasets/til.py | .venv/ready
	python config/datasets/til.py ../shared/cohorts/tcga_brca_til data/til

til: data/til/er.csv ## what positions add on 1,015 slides of TCGA-BRCA from ../shared, as maps (an hour)
	snakemake --cores all --configfile config/til.yaml
	@echo; cat results/til/summary.md; echo; echo "Results are in results/til/. Open results/til/report.html"

test: .venv/ready ## run the tests (6 to 9 minutes on 2 cores)
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/ready ## run the slow tests (30 to 45 minutes on 2 cores)
	OMP_NUM_THREADS=1 pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder

test-shared: .venv/ready ## run the tests that need ../shared
	OMP_NUM_THREADS=1 pytest -m "shared and not tiatoolbox" -n 2 --dist loadfile

test-slurm: .venv/ready ## run a short demo on a real Slurm (Debian: slurm-wlm, munge; needs ../shared)
	pytest -m slurm

test-conda: .venv/ready ## run a short demo with --use-conda (needs ../shared)
	pytest -m conda

.venv-spatialdata/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-spatialdata
	.venv-spatialdata/bin/pip install --quiet --constraint constraints.txt --editable '.[spatialdata]' pytest
	.venv-spatialdata/bin/pip check
	touch $@

test-spatialdata: .venv-spatialdata/ready ## run the tests that need spatialdata
	.venv-spatialdata/bin/pytest -m spatialdata tests/features/test_scverse.py

tiatoolbox: .venv-tiatoolbox/ready ## create .venv-tiatoolbox: more slide formats, tissue methods and encoders (6 GB)

.venv-tiatoolbox/ready: pyproject.toml constraints-tiatoolbox.txt
	$(PYTHON) -m venv .venv-tiatoolbox
	.venv-tiatoolbox/bin/pip install --quiet --constraint constraints-tiatoolbox.txt --editable '.[tiatoolbox,timm,dev]'
	.venv-tiatoolbox/bin/pip check
	touch $@

test-tiatoolbox: .venv-tiatoolbox/ready ## run the tests that need tiatoolbox or timm
	PATH="$(CURDIR)/.venv-tiatoolbox/bin:$$PATH" .venv-tiatoolbox/bin/pytest -m tiatoolbox

lint: data/demo/slides.csv ## run ruff, snakefmt, snakemake --lint and mypy
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy

bench: .venv/ready ## measure the speed of encoding, training and reading (20 minutes)
	python benchmarks/embed.py
	python benchmarks/step.py
	python benchmarks/epoch.py
	python benchmarks/embed_job.py

# what this package imports beyond PyTorch and what is usually installed with it (NumPy, SciPy, pandas, OpenCV, scikit-learn, ...)
GPU_PACKAGES := annotated-types donfig google-crc32c imagecodecs numcodecs openslide-bin openslide-python pydantic \
	pydantic-core simplejpeg typing-inspection zarr
GPU_PLATFORMS := $(foreach glibc,17 24 27 28,--platform manylinux_2_$(glibc)_x86_64) --platform manylinux2014_x86_64

gpu-wheels: .venv/ready ## collect the wheels that a GPU machine without a network lacks (Python 3.12): build/gpu-wheels
	rm -rf build/gpu-wheels
	$(BIN)/pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $(GPU_PLATFORMS) \
		--constraint constraints.txt --dest build/gpu-wheels $(GPU_PACKAGES)
	@du -sm build/gpu-wheels | awk '{print $$1 " MB"; exit $$1 > 60}' || { echo "more than 60 MB"; exit 1; }
	@echo "On that machine, in a copy of this folder (add what it says is missing to GPU_PACKAGES in the Makefile):"
	@echo "  python -m pip install --no-index --no-deps --target /tmp/site build/gpu-wheels/*.whl"
	@echo "  PYTHONPATH=/tmp/site python benchmarks/gpu.py --minutes 8"

arrangement: .venv/ready ## train on bags that differ only in where tiles lie (5 minutes)
	python benchmarks/arrangement.py

schema: .venv/ready ## write the config's schema and reference from roformermil/config/
	roformermil schema > workflow/schemas/config.schema.json
	roformermil schema --markdown > docs/reference.md

clean: ## remove the demo's slides and results; keep other data sets and .venv
	rm -rf data/demo results/demo results/logs/demo results/benchmarks/demo
	[ ! -d results ] || find results -maxdepth 1 -type f -delete
