"""Names that a person may have written in two ways: ids of one patient, a column's misspelt name."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile


def look_alikes(names: Iterable[str]) -> list[str]:
    """The spellings of each name that seems to have several, as `P01 / p1`, sorted."""
    spellings = defaultdict(set)
    for name in names:
        spellings[comparable(name)].add(name)
    return sorted(" / ".join(sorted(same)) for key, same in spellings.items() if key and len(same) > 1)


def comparable(name: str) -> str:
    """A name without what spreadsheets and typists change: case, spaces, hyphens, underscores, points, leading zeros
    and a final `.0`. Two numbers stay two, since `1-23` is not `12-3`."""
    text = re.sub(r"(?<=\d)\.0+$", "", unicodedata.normalize("NFKC", name).casefold())
    runs = re.findall(r"\d+|[^\d\s._\u00ad\u200b-\u200d\u2010-\u2015\ufeff-]+", text)
    joined = " ".join(run.lstrip("0") or "0" if run[0].isdigit() else run for run in runs)
    return re.sub(r"(?<!\d) | (?!\d)", "", joined)  # only between two numbers does a separator count


def one_typo_apart(first: str, second: str) -> bool:
    """Whether two words differ by one letter added, left out or replaced, or two neighbours exchanged."""
    start = _shared_start(first, second)
    end = _shared_start(first[start:][::-1], second[start:][::-1])
    a, b = first[start : len(first) - end], second[start : len(second) - end]
    return max(len(a), len(b)) <= 1 or (len(a) == 2 and a == b[::-1])


def _shared_start(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
