"""Revisions of what each stage computes, part of the rules' params: what changed is computed anew, with what depends on it.

Costly stages have a number, raised by hand when a stage's result changes for equal settings; it is part of the results'
fingerprints too. Leaves of the workflow, which take seconds, follow the source they are made with.
"""

from hashlib import sha256
from pathlib import Path

SEGMENT = 2
TILE = 2
EMBED = 2
IMPORT = 1
SPLIT = 1
TRAIN = 2
MEASURE = 1


def of_source(*parts: str) -> str:
    """Digest of the package's modules and folders of these names: `studies`, `slides/contact`."""
    here = Path(__file__).parent
    files = [file for part in parts for file in sorted([*here.glob(f"{part}.py"), *here.glob(f"{part}/**/*.py")])]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
