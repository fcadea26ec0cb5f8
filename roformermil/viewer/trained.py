"""Views of a run of the workflow: of each data set and model, the predictions of the folds that tested each slide."""

import logging
import math
from pathlib import Path

import pandas as pd

from roformermil.bags.folds import read_folds
from roformermil.bags.patients import slides_of_bags
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.errors import ModelError
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.predictions import OutOfFold, out_of_fold, read_table
from roformermil.viewer.views import ShownSlide, View, with_absolute_paths, with_prediction

TABLES = ("slides.csv", "slides_failed.csv", "slides_tiled.csv")  # the first that exists counts
TISSUE_TABLES = "tissue/batch_*.csv"  # before there is one of these
REMEDY = "Add {model} to heatmaps.models in the configuration and run the workflow again"
NOT_TRAINED = "No model is trained on this data set yet. Run the workflow to its end"
log = logging.getLogger(__name__)


def is_dataset(folder: Path) -> bool:
    """Whether the workflow wrote a data set's slide tables into this folder."""
    return any((folder / name).is_file() for name in TABLES) or any(folder.glob(TISSUE_TABLES))


def dataset_views(folder: Path, root: Path | None) -> list[View]:
    """The views of a data set's folder, one per model; one without predictions where no model is trained."""
    records = {one.slide_id: one for one in with_absolute_paths(_read_records(folder), folder, root)}
    results = sorted(folder.glob("*/*/fold_*/predictions.csv"))
    models = list(dict.fromkeys(path.parents[1] for path in results))
    views = [_model_view(folder, model, records) for model in models]
    return [view for view in views if view] or [_untrained_view(folder, records)]


def _read_records(folder: Path) -> list[SlideRecord]:
    """The records of a data set, of its latest stage."""
    tables = [folder / name for name in TABLES if (folder / name).is_file()][:1]
    tables = tables or sorted(folder.glob(TISSUE_TABLES), key=lambda path: path.stat().st_mtime_ns)  # the newest counts
    return [record for table in tables for record in read_slide_table(table)]


def _untrained_view(folder: Path, records: dict[str, SlideRecord]) -> View:
    rows = {row.slide_id: row for row in read_folds(folder / "folds.csv")} if (folder / "folds.csv").is_file() else {}
    slides = {}
    for name, record in records.items():
        row = rows.get(name)
        slides[name] = ShownSlide(record, row.patient_id, row.label) if row else ShownSlide(record)
    return View(folder.name, "", "", [], slides, folder / "tissue", folder / "tiles", None, NOT_TRAINED)


def _model_view(folder: Path, model: Path, records: dict[str, SlideRecord]) -> View | None:
    """The view of a model's folder; None, with a warning, where its folds do not fit one another."""
    try:
        (predictions,) = out_of_fold(read_results(sorted(model.glob("fold_*/predictions.csv"))), labelled=False)
    except ModelError as error:
        log.warning("%s is not shown: %s", model.relative_to(folder), error)
        return None
    return View(
        dataset=folder.name,
        encoder=predictions.encoder,
        model=predictions.model,
        classes=list(predictions.task.mapped),
        slides=_with_predictions(records, predictions.without_repeats(), folder / "folds.csv"),
        tissue=folder / "tissue",
        tiles=folder / "tiles",
        heatmaps=model / "heatmaps",
        remedy=REMEDY.format(model=predictions.model),
        auroc=_read_auroc(folder.parent / "summary.csv", predictions),
        metric=predictions.task.main,
        unit=predictions.task.contribution_unit,
        cautions=_read_cautions(folder.parent / "cautions.csv", predictions),
    )


def _with_predictions(records: dict[str, SlideRecord], predictions: OutOfFold, folds: Path) -> dict[str, ShownSlide]:
    """Where patients were predicted, each of their slides has the prediction of its patient."""
    slides = {name: ShownSlide(record) for name, record in records.items()}
    of_bags = slides_of_bags(read_folds(folds), "patient") if predictions.unit == "patient" else {}
    labels = predictions.task.labels(predictions.targets)
    for k, bag in enumerate(predictions.slides):
        label = labels[k]
        fold = None if predictions.trained_on else int(predictions.folds[k])
        for name in of_bags.get(bag, [bag]):
            if name in records:
                shown = ShownSlide(records[name], predictions.patients[k], label, fold=fold)
                slides[name] = with_prediction(shown, predictions.task, predictions.predictions[k].tolist())
    return slides


def _rows_of_model(table: Path, model: OutOfFold) -> pd.DataFrame:
    """The rows of a table of results that are about a data set and encoder; none where there is no table."""
    if not table.is_file():
        return pd.DataFrame()
    rows = read_table(table)
    return rows[(rows.dataset == model.dataset) & (rows.encoder == model.encoder)]


def _read_auroc(summary: Path, model: OutOfFold) -> tuple[float, float, float] | None:
    rows = _rows_of_model(summary, model)
    if rows.empty:
        return None
    rows = rows[(rows.model == model.model) & (rows.metric == model.task.main)]
    values = [(float(a), float(b), float(c)) for a, b, c in rows[["mean", "ci_low", "ci_high"]].to_numpy()]
    return next((value for value in values if not math.isnan(value[0])), None)


def _read_cautions(table: Path, model: OutOfFold) -> list[str]:
    """The warnings about a data set, and about this model of its models."""
    rows = _rows_of_model(table, model)
    return [] if rows.empty else rows[rows.model.isna() | (rows.model == model.model)].caution.tolist()
