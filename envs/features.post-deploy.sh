#!/usr/bin/env bash
# Written by envs/pin.py. Runs in the new environment; workflow/rules/common.smk sets ROFORMERMIL_CHECKOUT.
set -eu
python -m pip install --quiet --no-deps --build-constraint "$ROFORMERMIL_CHECKOUT/constraints.txt" --editable "$ROFORMERMIL_CHECKOUT"
