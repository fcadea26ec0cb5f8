"""The benchmark of a GPU, here without one: its parts run on small sizes, and one that fails costs no other."""

import json
import re
import subprocess
import sys
from importlib import import_module

import pytest

from tests import ROOT

SCRIPT = """
import json, os, signal, sys, time
name, out = sys.argv[2], sys.argv[4]
with open(f"{out}/{name}.jsonl", "w") as file:
    file.write(json.dumps({"what": "it | that", "seconds": 1.2345, "met": name != "precision"}) + "\\n")
if name == "repeat":
    print("no CUDA driver\\n")
    sys.exit(3)
if name == "sync":
    os.kill(os.getpid(), signal.SIGSEGV)
if name == "memory":
    time.sleep(60)
"""
# of what the benchmark imports, what comes with PyTorch or is there beside it on machines with a GPU
USUAL = {"filelock", "h5py", "jinja2", "matplotlib", "numpy", "opencv-python-headless", "packaging", "pandas", "pillow"}
USUAL |= {
    "pyyaml",
    "requests",
    "safetensors",
    "scikit-learn",
    "scipy",
    "tifffile",
    "torch",
    "tqdm",
    "typer",
    "setuptools",
}
USUAL |= {
    "annotated-doc",
    "charset-normalizer",
    "cloudpickle",
    "fsspec",
    "joblib",
    "narwhals",
    "psutil",
    "python-dateutil",
}
USUAL |= {"rich", "shellingham", "six", "threadpoolctl", "typing-extensions"}
IMPORTED = """
import sys
from importlib.metadata import packages_distributions
import gpu, zarr.codecs, imagecodecs, roformermil.cli
distributions = packages_distributions()
modules = {name.partition(".")[0] for name in sys.modules}
print(*{distribution for module in modules for distribution in distributions.get(module, [])})
"""


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("gpu")


def test_a_part_that_fails_hangs_or_dies_costs_no_other_and_all_is_written(gpu, monkeypatch, tmp_path):
    (script := tmp_path / "parts.py").write_text(SCRIPT)
    monkeypatch.setattr(gpu, "__file__", str(script))
    monkeypatch.setattr(gpu, "LEAST", 0.5)
    limits = {"memory": 3, "tests": 0.1}
    parts = {name: part._replace(seconds=limits.get(name, 40)) for name, part in gpu.PARTS.items()}
    monkeypatch.setattr(gpu, "PARTS", parts)
    names = ["versions", "repeat", "sync", "precision", "memory", "tests"]
    results = gpu.measure(names, 8, tmp_path / "out")
    assert {name: result["status"] for name, result in results.items()} == {
        "versions": "ok",
        "repeat": "ended with 3: no CUDA driver",
        "sync": "ended with -11: no message",
        "precision": "not as it should be",
        "memory": "ended after 3 s, incomplete",
        "tests": "skipped: no time left",
    }
    assert all(len(results[name]["rows"]) == 1 for name in names[:-1]) and not results["tests"]["rows"]
    assert json.loads((tmp_path / "out/gpu.json").read_text()) == results
    text = (tmp_path / "out/gpu.md").read_text()
    assert text.count("| it \\| that | 1.23 | yes |") == 4 and text.count("| it \\| that | 1.23 | **no** |") == 1


@pytest.mark.slow
def test_all_parts_run_on_small_sizes_without_a_gpu(tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", "--minutes", "60", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: result["status"] for name, result in results.items()} == dict.fromkeys(results, "ok"), done.stdout
    assert done.returncode == 0 and len(results) == 10 and all(result["rows"] for result in results.values())
    assert "small, and nothing is proven" in done.stdout


def test_the_wheels_and_what_comes_with_pytorch_are_all_that_is_imported():
    variable = re.search(r"^GPU_PACKAGES := (.*?[^\\])$", (ROOT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    wheels = set(variable[1].replace("\\\n", " ").split())
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True
    )
    imported = {name.lower().replace("_", "-") for name in done.stdout.split()}
    assert {"zarr", "pydantic", "openslide-python"} <= imported
    assert not imported - wheels - USUAL - {"roformermil"}
