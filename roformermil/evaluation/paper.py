"""The results that the paper reports (arXiv 2310.01924, tables 1 and 2): AUROC and average precision, mean and standard
deviation over 10 folds, of the cohorts whose slide sheets are in config/datasets."""

from collections.abc import Sequence

Result = tuple[float, float]  # mean, standard deviation

CLASSES = {  # in config/paper.yaml
    "tcga_nsclc": ("LUAD", "LUSC"),
    "bracs": ("benign", "atypical", "malignant"),
    "camelyon16": ("normal", "tumor"),
}
MODELS = ("abmil", "ro-abmil", "dsmil", "ro-dsmil", "transmil")
_AUROC = {
    "tcga_nsclc": [(0.88, 0.06), (0.92, 0.05), (0.88, 0.06), (0.90, 0.05), (0.91, 0.05)],
    "bracs": [(0.81, 0.09), (0.82, 0.07), (0.79, 0.09), (0.82, 0.08), (0.80, 0.09)],
    "camelyon16": [(0.80, 0.24), (0.90, 0.05), (0.74, 0.23), (0.90, 0.05), (0.84, 0.09)],
}
_AVERAGE_PRECISION = {
    "tcga_nsclc": [(0.84, 0.07), (0.92, 0.05), (0.88, 0.06), (0.90, 0.05), (0.91, 0.04)],
    "bracs": [(0.70, 0.12), (0.70, 0.10), (0.68, 0.11), (0.70, 0.11), (0.68, 0.11)],
    "camelyon16": [(0.74, 0.20), (0.82, 0.08), (0.68, 0.17), (0.82, 0.07), (0.77, 0.10)],
}
_TABLES: dict[str, dict[str, list[Result]]] = {"auroc": _AUROC, "average_precision": _AVERAGE_PRECISION}


def paper_result(dataset: str, classes: Sequence[str], model: str, metric: str) -> Result | None:
    """The paper's result for this data set with these classes, None where it reports none."""
    results = _TABLES.get(metric, {}).get(dataset)
    if not results or model not in MODELS or set(classes) != set(CLASSES[dataset]):
        return None
    return results[MODELS.index(model)]
