"""Why numbers cannot be trusted, in words: in every table and at the head of the report."""

from collections.abc import Sequence

from roformermil.bags.audit import Finding
from roformermil.errors import Reason
from roformermil.status import OK, Status

FEW = 20  # test slides a fold
MANY_LOST = 0.05  # of a data set's slides
MEANING = {
    "patients": "the same patients train and test: figures flatter",
    "duplicates": "the same slides train and test: figures flatter",
    "sites": "where a slide comes from tells its label: a model may have learned the site",
}


def cautions(
    dataset: str, encoder: str, tested: float, slides: Sequence[Status] = (), findings: Sequence[Finding] = ()
) -> list[str]:
    """Sentences, most serious first. tested: mean number of test slides a fold; slides, findings: of slides.csv and audit.csv."""
    lines = []
    if encoder.endswith("-random"):
        lines.append(f"{encoder}: random encoder weights. These numbers say that the path works, no more.")
    lines += [
        f"{dataset}: {MEANING[finding.check]} ({finding.detail})" for finding in findings if finding.outcome == "leak"
    ]
    wanted = [row for row in slides if row.status != Reason.EXCLUDED]
    lost = sum(row.status != OK for row in wanted)
    if lost > MANY_LOST * len(wanted):
        lines.append(
            f"{dataset}: {lost} of {len(wanted)} slides are lost: what is left may not be what was meant to be studied"
        )
    if tested < FEW:
        lines.append(f"{dataset}: {tested:.0f} test slides a fold are few: read the intervals")
    return lines
