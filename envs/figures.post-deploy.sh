#!/usr/bin/env bash
# Runs in the new environment. rules/common.smk sets ROFORMERMIL_CHECKOUT, wherever snakemake was started.
set -eu
python -m pip install --quiet --no-deps --editable "$ROFORMERMIL_CHECKOUT"
