"""What a packaged model says of itself: for programs (`model.json`) and for people (`README.md`, a model card)."""

from typing import Annotated, Any

from pydantic import Field

from roformermil.config import Encoder, Tissue
from roformermil.config.base import Settings

FEATURES = ("encoder", "weights", "target_mpp", "tile_px")  # attributes of a store that a model's features must share
FILE = r"^fold_\d+\.safetensors$"


class TrainedOn(Settings):
    """The data that the ensemble was trained on; `least`, `median`, `most` over slides."""

    dataset: str
    slides: int
    patients: int
    labels: dict[str, int]
    tiles: dict[str, float]
    mpp: dict[str, float] | None


class ModelCard(Settings):
    """`model.json`."""

    roformermil: str
    name: str
    model: dict[str, Any]
    classes: list[str] = Field(min_length=2)
    parameters: int
    members: dict[Annotated[str, Field(pattern=FILE)], str] = Field(min_length=1)
    """Files of the ensemble's members and their sha256."""
    features: dict[str, str | int | float | None]
    settings: dict[str, dict[str, Any]]
    """Sections `tissue`, `tiles` and `encoder` of the configuration; weights of the lab's own by their file's name alone."""
    trained_on: TrainedOn
    results: list[dict[str, str | int | float | None]]
    cautions: list[str]
    run: dict[str, Any]

    @property
    def takes_slides(self) -> bool:
        """Whether it can encode slides itself; features that were imported can only be given."""
        return self.features["weights"] is not None


def render_card(card: ModelCard) -> str:
    """The model card, in Markdown."""
    return "\n\n".join(
        [
            f"# {card.name}",
            f"A whole-slide image classifier: {', '.join(card.classes)}. Made by RoFormerMIL {card.roformermil} (arXiv 2310.01924), model "
            f"`{card.model['name']}`, {card.parameters:,} parameters, an ensemble of {len(card.members)} (one a cross-validation fold).",
            *_cautions(card.cautions),
            "## Use",
            f"With RoFormerMIL {card.roformermil}{_commit(card.run)} installed (Python 3.11 to 3.13; its README says how):",
            f"```bash\nroformermil predict {'slides/*.svs' if card.takes_slides else 'features/*.zarr'} --model THIS_FOLDER{_given(card)} --out predictions\n```",
            "## Trained on",
            _data(card),
            "## Results",
            "Cross-validation, each slide predicted by a model that was not trained on it: mean ± standard deviation over "
            f"{card.results[0]['folds']} folds, and the 95% interval by a bootstrap of patients. The ensemble itself was not "
            "tested: no slide is new to all its members.",
            "\n".join(["| metric | mean ± std | 95% interval |", "|---|---|---|", *map(_result, card.results)]),
            "## Limits",
            "For research; not a medical device. Other scanners, stains, laboratories and populations than those it was trained on were not "
            "tested, nor were its probabilities calibrated for them.",
        ]
    ) + "\n"  # fmt: skip


OPTIONS = {"encoder": "--weights", "tissue": "--tissue-weights"}


def _own_weights(card: ModelCard) -> dict[str, str]:
    """Names of weights' files of the lab's own, by section of the settings."""
    encoder, tissue = Encoder(**card.settings.get("encoder", {})), Tissue(**card.settings.get("tissue", {}))
    files = {"encoder": encoder.weights_path, "tissue": tissue.weights}
    return {section: file.name for section, file in files.items() if file}


def _given(card: ModelCard) -> str:
    return "".join(f" {OPTIONS[section]} {name}" for section, name in _own_weights(card).items())


def _commit(run: dict[str, Any]) -> str:
    return f" (commit {str(run['commit'])[:12]})" if run.get("commit") else ""


def _cautions(lines: list[str]) -> list[str]:
    return ["**Read its numbers with care:**", "\n".join(f"- {line}" for line in lines)] if lines else []


def _data(card: ModelCard) -> str:
    data, features, tiles = card.trained_on, card.features, card.trained_on.tiles
    labels = ", ".join(f"{count} {name}" for name, count in data.labels.items())
    said = f"{data.dataset}: {data.slides} slides of {data.patients} patients ({labels}), {tiles['least']:,.0f} to {tiles['most']:,.0f} "
    said += f"tiles a slide (median {tiles['median']:,.0f}). "
    if card.takes_slides:
        said += f"Tiles of {features['tile_px']} px at {features['target_mpp']} um/px, encoded by `{features['encoder']}` with weights "
        said += f"`{features['weights']}`; features of another encoder or scale are refused."
        files = [f"`{name}` ({OPTIONS[section]})" for section, name in _own_weights(card).items()]
        if files:
            said += f" The weights are a file of the lab that made this model, which is not in this folder: {' and '.join(files)}; its sha256 is compared."
        return said
    said += f"Features that another pipeline made, imported as `{features['encoder']}`: of what tiles and weights they do not say, so "
    return said + "that nothing but this name is compared."


def _result(row: dict[str, Any]) -> str:
    bounds = "none" if row["ci_low"] is None else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
    spread = "" if row["std"] is None else f" ± {row['std']:.3f}"
    return f"| {row['metric']} | {row['mean']:.3f}{spread} | {bounds} |"
