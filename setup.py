"""The packages of the wheel: the package, and within it the workflow and its environments, which a clone has beside it."""

from setuptools import find_packages, setup

BESIDE = {"roformermil.workflow": "workflow", "roformermil.envs": "envs"}
setup(packages=[*find_packages(include=["roformermil*"]), *BESIDE], package_dir=BESIDE)
