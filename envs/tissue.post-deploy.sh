#!/usr/bin/env bash
# Runs in the new environment, from the folder that snakemake was started in: the checkout.
set -eu
python -m pip install --quiet --no-deps --editable .
