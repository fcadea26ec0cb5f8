# The package and Snakemake at the versions of constraints.txt. docs/cluster.md says how to run the workflow in it.
#   docker build --tag roformermil .                                      for CPUs
#   docker build --tag roformermil --build-arg PIP_EXTRA_INDEX_URL= .     for GPUs: PyPI's PyTorch brings CUDA, the host its driver
# BASE is any Debian or Ubuntu with Python 3.11 to 3.13, as nvidia/cuda:13.0.1-base-ubuntu24.04.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/roformermil/bin:$PATH
WORKDIR /opt/roformermil/source
COPY constraints*.txt pyproject.toml setup.py README.md LICENSE ./
COPY envs envs
COPY workflow workflow
COPY roformermil roformermil
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/roformermil \
    && pip install --no-cache-dir --constraint constraints.txt . \
    && roformermil version
WORKDIR /work
CMD ["roformermil", "--help"]
