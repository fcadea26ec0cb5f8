"""What became of slides, in one line for all that are alike."""

import re
from collections import defaultdict
from collections.abc import Sequence

from roformermil.cohort.slide_table import SlideRecord
from roformermil.runtime.text import join_some

NUMBER = re.compile(r"\d[\d.,]*%?")


def group_lost(records: Sequence[SlideRecord]) -> list[str]:
    """Why slides are lost, one line for all with the same cause."""
    causes = defaultdict(list)
    for record in records:
        if record.is_lost:
            causes[record.status, record.message.replace(str(record.path), "")].append(record)
    return [
        f"{first.slide_id}: {first.status}: {first.message}{_likewise([record.slide_id for record in others])}"
        for first, *others in causes.values()
    ]


def group_warnings(records: Sequence[SlideRecord]) -> list[str]:
    """What is odd about usable slides, one line for all warnings that differ only in numbers, with these."""
    kinds = defaultdict(list)
    for record in records:
        for warning in filter(None, record.warnings.split("; ") if record.is_ok else []):
            kinds[NUMBER.sub("", warning)].append((record.slide_id, warning))
    lines = []
    for (slide_id, warning), *others in kinds.values():
        first = NUMBER.findall(warning)
        numbers = [[n for n, o in zip(NUMBER.findall(other), first, strict=True) if n != o] for _, other in others]
        names = [f"{other} ({', '.join(n)})" if n else other for (other, _), n in zip(others, numbers, strict=True)]
        lines.append(f"{slide_id}: {warning}{_likewise(names)}")
    return lines


def _likewise(names: Sequence[str]) -> str:
    return f". Likewise {join_some(names)}" if names else ""
