"""What the report says below each plot, table and picture."""

import re

from tests import ROOT

NAMED = re.compile(r'caption="\.\./report/(\w+)\.rst"|"report/(\w+)\.rst"')


def test_every_caption_exists_and_is_shown():
    files = [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    named = {name for file in files for names in NAMED.findall(file.read_text()) for name in names if name}
    assert len(named) > 4 and named == {path.stem for path in (ROOT / "workflow/report").glob("*.rst")}
