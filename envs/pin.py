"""Write the conda environments of the rules: each lists what its step needs, at the versions of constraints.txt.

    python envs/pin.py          # after a change of constraints.txt; a test fails until it was run

Versions and dependencies are read from the packages installed here, which `make setup` took from constraints.txt. Run by the
Python of `make tiatoolbox` it writes tissue.yaml, from constraints-tiatoolbox.txt.
"""

import re
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
HAS_TIATOOLBOX = find_spec("tiatoolbox") is not None
PYTHON, PIP = "3.11.7", "25.3"
CONSTRAINTS = {False: "constraints.txt", True: "constraints-tiatoolbox.txt"}
COMMAND_LINE = ("filelock", "pydantic", "pyyaml", "tqdm", "typer")
SLIDES = ("numpy", "opencv-python-headless", "openslide-bin", "openslide-python", "pillow", "simplejpeg")
ENVIRONMENTS = {
    "download": (*COMMAND_LINE, "requests"),
    "slides": (*COMMAND_LINE, *SLIDES),
    "features": (*COMMAND_LINE, *SLIDES, "h5py", "safetensors", "torch", "zarr"),
    "training": (*COMMAND_LINE, "numpy", "safetensors", "scikit-learn", "torch", "zarr"),
    "evaluation": (*COMMAND_LINE, "numpy", "pandas", "safetensors", "scikit-learn", "scipy", "zarr"),
    "tissue": (*COMMAND_LINE, *SLIDES, "h5py", "tiatoolbox", "timm", "torch", "zarr"),
    "report": (
        *COMMAND_LINE,
        "jinja2",
        "matplotlib",
        "numpy",
        "pandas",
        "safetensors",
        "scikit-learn",
        "scipy",
        "zarr",
    ),
}


POST_DEPLOY = """#!/usr/bin/env bash
# Written by envs/pin.py. The environment's command `roformermil` runs the package that the workflow was planned with
# (workflow/rules/common.smk), from a copy in the environment: a job is not affected when the checkout changes or moves.
set -eu
bin=$(python -c "import sysconfig; print(sysconfig.get_path('scripts'))")
cat > "$bin/roformermil" <<'END'
#!/usr/bin/env bash
set -eu
bin=$(cd "$(dirname "$0")" && pwd)
copies=$bin/../share/roformermil
mkdir -p "$copies"
copy=$copies/$(tr : - <<< "${ROFORMERMIL_CODE:-$(ls -t "$copies" | head -n 1)}")
if [ ! -d "$copy" ]; then
  new=$(mktemp -d "$copies/.XXXXXX")
  trap 'rm -rf "$new"' EXIT # what could not be copied, or another job's copy was there first
  cp -R "$ROFORMERMIL_CHECKOUT/roformermil" "$new"
  chmod -R a+rX "$new"
  mv -T "$new" "$copy" 2> /dev/null || [ -d "$copy" ]
  rm -rf "$new"
fi
PYTHONPATH=$copy exec "$bin/python" -P -m roformermil "$@"
END
chmod +x "$bin/roformermil"
roformermil version
"""


def environments_here() -> list[str]:
    """The environments whose packages are installed here."""
    return [name for name in ENVIRONMENTS if (name == "tissue") == HAS_TIATOOLBOX]


def pin_dependencies(names: tuple[str, ...]) -> list[str]:
    """`name==version` of the packages and of all that they need, sorted."""
    pins: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        package = distribution(waiting.pop())
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        if name in pins:
            continue
        pins[name] = package.version.split("+")[0]  # +cpu is a build, not a version
        needs = map(Requirement, package.requires or ())
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def environment_yaml(name: str) -> str:
    """The text of `envs/NAME.yaml`."""
    pins = "".join(f"      - {pin}\n" for pin in pin_dependencies(ENVIRONMENTS[name]))
    return (
        f"# Written by envs/pin.py from {CONSTRAINTS[HAS_TIATOOLBOX]}. *.post-deploy.sh adds the package itself.\n"
        f"channels: [conda-forge]\ndependencies:\n  - python =={PYTHON}\n  - pip =={PIP}\n  - pip:\n{pins}"
    )


if __name__ == "__main__":
    for name in environments_here():
        (HERE / f"{name}.yaml").write_text(environment_yaml(name))
    for name in ENVIRONMENTS:
        (HERE / f"{name}.post-deploy.sh").write_text(POST_DEPLOY)
