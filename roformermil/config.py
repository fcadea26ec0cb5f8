"""What can be asked for: the one typed source of every setting, its default and its meaning.

`workflow/schemas/config.schema.json` is generated from here (`roformermil.schema`); a test holds the two in step.
The defaults are the paper's values where the paper gives one.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from roformermil.encoder_specs import IMPORTED, SPECS, TIMM, encoder_spec
from roformermil.errors import ConfigError
from roformermil.settings import Settings, read_settings

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # becomes a folder's name
ModelName = Literal["abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "transmil", "mean", "max"]
PAPER_MODELS: tuple[ModelName, ...] = ("abmil", "ro-abmil", "dsmil", "ro-dsmil")


METHOD_KEYS = {"threshold": ("hsv",), "median": ("hsv", "otsu"), "close": ("hsv", "otsu"), "weights": ("grandqc",)}


class Dataset(Settings):
    """A data set: a slide sheet, the folder of its slides and its classes."""

    slides: Path
    """Slide sheet (CSV): `slide_id, patient_id, label, path` and optionally `mpp` and `tissue` (settings of this slide)."""
    root: Path
    """Folder that the sheet's paths are relative to."""
    allow_absolute: bool = False
    """Whether paths in the sheet may be absolute, and so lie outside `root`."""
    classes: list[Name] = Field(min_length=2)
    """Labels in the order of their class index. With two, the second is the positive one."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("each class once")
        return classes


class Tissue(Settings):
    """Tissue segmentation at low resolution, its areas in um^2 instead of pixels. A slide's row of the sheet may override
    any key in the column `tissue`."""

    method: Literal["hsv", "otsu", "morphological", "grandqc"] = "hsv"
    """`hsv`: saturation, median filter, threshold, closing, as in CLAM (Lu et al. 2021); `otsu`: the same, the threshold
    chosen slide by slide; `morphological` and `grandqc` (a network): tiatoolbox's, in its own environment."""
    mpp: float = Field(8.0, gt=0)
    """Resolution of the mask in um/px."""
    threshold: int = Field(8, ge=0, le=255)
    """`hsv`: pixels of a saturation (0 to 255) above this are tissue."""
    median: int = Field(7, ge=1)
    """`hsv`, `otsu`: width of the median filter in mask pixels, odd; 1 leaves it out."""
    close: int = Field(4, ge=1)
    """`hsv`, `otsu`: width of the morphological closing in mask pixels; 1 leaves it out."""
    weights: Path | None = None
    """`grandqc`: the network's state dict; by default tiatoolbox fetches it from its hub."""
    drop_pen: bool = False
    """Leave out green, blue, red and black pen marks."""
    drop_folds: bool = False
    """Leave out folds: tissue that is darker and more saturated than the slide's, as two layers are."""
    min_area: float = Field(16384.0, ge=0)
    """Regions below this many um^2 are dropped. The default is one tile of the default size."""
    min_hole: float = Field(16384.0, ge=0)
    """Holes below this many um^2 are filled."""

    @field_validator("median")
    @classmethod
    def _odd(cls, median: int) -> int:
        if median % 2 == 0:
            raise ValueError("the median filter's width must be odd")
        return median

    @property
    def needs_tiatoolbox(self) -> bool:
        return self.method in ("morphological", "grandqc")

    @model_validator(mode="after")
    def _said_to_the_right_method(self) -> "Tissue":
        for key, methods in METHOD_KEYS.items():
            if getattr(self, key) != type(self).model_fields[key].default and self.method not in methods:
                raise ValueError(f"{key} says nothing with method: {self.method}")
        return self


class Tiles(Settings):
    """The grid of tiles (paper, section 3.2: 256 px at 20x)."""

    size: int = Field(256, ge=32)
    """Side of a tile in pixels, as the encoder sees it; in a configuration, the encoder's own (224 of a foundation model)."""
    mpp: float = Field(0.5, gt=0)
    """Resolution of a tile in um/px. 0.5 is 20x."""
    min_tissue: float = Field(0.25, ge=0, le=1)
    """A tile is kept when at least this fraction of its area is tissue (and some of it is)."""
    tolerance: float = Field(0.1, ge=0)
    """A slide whose finest level is coarser than `mpp` by more than this fraction is `too_coarse`. Scanners' "20x"
    is 0.45 to 0.55 um/px; within the tolerance such a slide's tiles are interpolated by the few per cent missing."""


class Encoder(Settings):
    """The frozen network that turns a tile into a vector."""

    name: str = "resnet50"
    """`resnet50`: ResNet-50 truncated after layer3, global average pooling, 1024 values a tile; `resnet50-full`: after
    layer4, 2048; `uni`, `uni2-h`, `virchow`, `virchow2`, `h-optimus-0`, `h-optimus-1`, or `timm:NAME` for any model of
    timm (the extra `[timm]`); `imported`: the sheet's paths are .h5 files with features of CLAM, TRIDENT or alike."""
    weights: str | None = None
    """`imagenet` (torchvision's published file, fetched once), `hub` (timm's), `random`, or the path of a state dict. By
    default what was published."""
    label: Name | None = None
    """Name in result folders and tables. By default `name-weights`."""
    seed: int = Field(0, ge=0)
    """Seed of `random` weights."""
    batch_size: int = Field(32, ge=1)
    """Tiles encoded at a time."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the encoder; `auto` is fp16 on a GPU and fp32 on a CPU."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Whether torch compiles the encoder: a third faster on a CPU, after half a minute. `auto`: on a CPU that has a C++
    compiler."""
    readers: int | None = Field(None, ge=1)
    """Processes that read tiles, each with the slide open; by default 2, with a GPU as many as CPU cores."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*SPECS, IMPORTED) and not name.startswith(TIMM):
            close = difflib.get_close_matches(name, SPECS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SPECS)}, {TIMM}NAME, {IMPORTED}"
            raise ValueError(f"no encoder is named {name!r}; {hint}")
        return name

    @property
    def is_imported(self) -> bool:
        return self.name == IMPORTED

    @property
    def id(self) -> str:
        """Name in result folders and tables. Random weights are always named as such."""
        name = self.label or self.name.removeprefix(TIMM)
        if self.weights == "random":
            return f"{name}-random"
        return name if self.label or self.is_imported else f"{name}-{Path(str(self.weights)).stem}"

    @property
    def weights_path(self) -> Path | None:
        """The weights' file where one was given."""
        return None if self.weights in (None, "imagenet", "hub", "random") else Path(str(self.weights))

    @model_validator(mode="after")
    def _published_weights(self) -> "Encoder":
        published = None if self.is_imported else "imagenet" if not encoder_spec(self.name).architecture else "hub"
        if self.weights is None:
            object.__setattr__(self, "weights", published)
        if self.weights in ("imagenet", "hub") and self.weights != published:
            raise ValueError(f"{self.name} has no weights: {self.weights}; leave them out for its published ones")
        if self.is_imported and self.weights:
            raise ValueError("imported features have no weights to load")
        return self

    @model_validator(mode="after")
    def _usable_id(self) -> "Encoder":
        if Path(self.id).name != self.id or self.id.startswith(".") or self.id in ("features", "tissue", "tiles"):
            raise ValueError("give this encoder a `label` that can name a folder beside features, tissue and tiles")
        if self.seed and self.weights != "random":
            raise ValueError("seed is for weights: random")
        return self


class Folds(Settings):
    """Cross-validation (paper, section 3.2: 10 stratified folds)."""

    count: int = Field(10, ge=3)
    """Number of folds. Fold k tests on part k, validates on the next part and trains on the rest."""
    seed: int = 1
    """Seed of the split; given folds need none."""
    mode: Literal["rotation", "paper"] = "rotation"
    """`rotation`: as said at `count`. `paper`: as the paper's release splits, by slide whoever the patient is, and a
    tenth of what is not tested validates. Results of `paper` flatter where patients have several slides."""
    group_by_patient: bool = True
    """Keep a patient's slides in one part. False splits by slide, and so does `mode: paper`."""
    path: str | None = None
    """Given folds instead, a CSV `fold, slide_id, part`; `{dataset}` in it stands for the data set's name."""

    @model_validator(mode="after")
    def _paper(self) -> "Folds":
        if self.mode == "paper":
            if "group_by_patient" in self.model_fields_set and self.group_by_patient:
                raise ValueError("mode: paper splits by slide; leave out group_by_patient: true")
            if self.path:
                raise ValueError("folds are either given by path or made by mode: paper")
            object.__setattr__(self, "group_by_patient", False)
        return self


class Model(Settings):
    """A model and its settings."""

    name: ModelName
    """`ro-abmil`, `ro-dsmil`: heads over RoFormer blocks; `abmil`, `dsmil`, `gated-abmil`, `mean`, `max`: heads over
    feed-forward blocks of equal capacity; `transmil`: Nystroem attention and PPEG."""
    label: Name | None = None
    """Name in result folders and tables, to tell variants apart. By default the model's name."""
    hidden_dim: int = Field(512, ge=8)
    """Width of a tile's vector after the input projection."""
    attention_dim: int = Field(256, ge=8)
    """Width of the attention in the (gated) ABMIL head; the others have none to set."""
    heads: int = Field(8, ge=1)
    """Attention heads, in RoFormer blocks, TransMIL and the ABMIL head."""
    layers: int = Field(1, ge=0)
    """Blocks between the input projection and the head. TransMIL's block is its TPT module, of two attention layers."""
    position: Literal["rope", "sine", "alibi", "none"] | None = None
    """Position encoding of RoFormer blocks: `rope` (the default of ro- models), `alibi` (relative too: scores fall
    with distance), `sine` (absolute) or `none`."""
    rope_frequencies: Literal["pixel", "lang"] = "pixel"
    """Frequencies of the rotary encoding."""
    rope_scale: float = Field(1.0, gt=0)
    """Grid positions are multiplied by this before encoding."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Dropout after attention, after the feed-forward layer and in the head."""

    @property
    def id(self) -> str:
        return self.label or self.name

    @property
    def is_roformer(self) -> bool:
        return self.name.startswith("ro-")

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        if not self.is_roformer and self.position not in (None, "none"):
            raise ValueError(f"{self.name} has no position encoding to set: ro-abmil and ro-dsmil have")
        if self.position is None:
            object.__setattr__(self, "position", "rope" if self.is_roformer else "none")
        if self.hidden_dim % self.heads or self.attention_dim % self.heads:
            raise ValueError("hidden_dim and attention_dim must be multiples of heads")
        if self.position == "rope" and self.hidden_dim // self.heads % 4:
            raise ValueError("rope needs hidden_dim / heads to be a multiple of 4: two axes of rotated pairs")
        if self.position != "rope" and (self.rope_frequencies, self.rope_scale) != ("pixel", 1.0):
            raise ValueError("rope_frequencies and rope_scale say nothing without position: rope")
        if self.name == "transmil" and not self.layers:
            raise ValueError("transmil needs layers: 1 or more; without one its class token never meets the tiles")
        if self.position == "sine" and self.hidden_dim % 4:
            raise ValueError("sine needs hidden_dim to be a multiple of 4: two axes of sines and cosines")
        return self


class Training(Settings):
    """Training of one fold (paper, section 3.2)."""

    epochs: int = Field(50, ge=1)
    """At most this many passes over the training slides."""
    patience: int = Field(10, ge=1)
    """Stop after this many epochs without improvement of `monitor`."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's learning rate."""
    weight_decay: float = Field(1e-5, ge=0)
    """Adam's weight decay."""
    batch_size: int = Field(4, ge=1)
    """Slides a step."""
    scheduler_factor: float = Field(0.1, gt=0, lt=1)
    """The learning rate is multiplied by this when the validation loss stands still ..."""
    scheduler_patience: int = Field(5, ge=0)
    """... for more than this many epochs."""
    monitor: Literal["loss", "auroc", "accuracy"] = "loss"
    """Validation figure that chooses the best epoch. AUROC and accuracy of a few slides take few values; the loss does
    not."""
    seed: int = 1
    """Seed of initial weights, dropout and slide order; each fold and model derives its own from it."""
    max_tiles: int | None = Field(None, ge=1)
    """At most this many tiles of a slide in a training step, drawn afresh each epoch; evaluation sees whole slides."""
    checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: for slides that do not fit otherwise."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the model; `auto` is bf16 on a GPU that has it and fp32 elsewhere. fp16 comes with a scaled loss."""
    cache_gb: float = Field(4.0, ge=0)
    """This many GB of features are kept in memory between epochs; what does not fit is read from disk each time."""
    readers: int = Field(4, ge=1)
    """Threads that read features ahead of the step."""


def _model(given: Any) -> Any:
    """A model's name alone stands for its settings."""
    return {"name": given} if isinstance(given, str) else given


def _named_once(models: list[Model]) -> list[Model]:
    names = [m.id for m in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{sorted(twice)} stand twice: give each variant a `label` of its own")
    return models


def _once(values: list) -> list:
    if len({f"{value:g}" if isinstance(value, float) else value for value in values}) < len(values):
        raise ValueError("each value once")
    return values


ModelEntry = Annotated[Model, BeforeValidator(_model, json_schema_input_type=ModelName | Model)]


class Ablation(Settings):
    """What `snakemake ablation` compares: each arm differs from one RoFormer model in one thing."""

    model: ModelEntry | None = None
    """The model to vary, `ro-abmil` or `ro-dsmil` with `rope`; by default the first such of `models`."""
    positions: list[Literal["pixel", "lang", "alibi", "sine", "none"]] = Field(
        ["pixel", "lang", "alibi", "sine", "none"]
    )
    """Position encodings; `pixel` and `lang` are rotary."""
    scales: list[Annotated[float, Field(gt=0)]] = Field([0.1, 0.3, 1.0, 3.0, 10.0])
    """Factors on grid positions (`rope_scale`)."""
    layers: list[Annotated[int, Field(ge=0)]] = Field([0, 1, 2, 3, 4])
    """Numbers of RoFormer layers."""
    capacity: bool = True
    """Whether to train the plain head of equal parameters, and the head alone."""

    @field_validator("positions", "scales", "layers")
    @classmethod
    def _each_once(cls, values: list) -> list:
        return _once(values)

    @field_validator("model")
    @classmethod
    def _roformer(cls, model: Model | None) -> Model | None:
        if model and model.position != "rope":
            raise ValueError("the model to vary must be ro-abmil or ro-dsmil with position: rope")
        return model


class Overhead(Settings):
    """What `snakemake overhead` measures: time and memory of every kind of model against tiles a slide."""

    models: list[ModelEntry] = Field(default_factory=lambda: [Model(name=n) for n in get_args(ModelName)], min_length=1)
    """Models to measure, by default one of each kind, of the paper's size."""
    tiles: list[Annotated[int, Field(ge=1)]] = Field([1000, 4000, 16000, 64000], min_length=1)
    """Tiles of the slide in a step."""
    repeats: int = Field(5, ge=2)
    """Steps, and inferences, that are timed after one that is not ..."""
    seconds: float = Field(60.0, gt=0)
    """... or as many as fit into this time, at least two (then the first, which loads and allocates, is one of them)."""

    @field_validator("models")
    @classmethod
    def _labels(cls, models: list[Model]) -> list[Model]:
        return _named_once(models)

    @field_validator("tiles")
    @classmethod
    def _each_once(cls, tiles: list[int]) -> list[int]:
        return _once(tiles)


class Config(Settings):
    """Everything a run can be asked for."""

    datasets: dict[Name, Dataset] = Field(min_length=1)
    """Data sets by name."""
    results: Path = Path("results")
    """Folder of all output."""
    tiatoolbox: bool = False
    """With `--use-conda`: read slides in the environment that has tiatoolbox and timm (`envs/tissue.yaml`). Tissue methods
    and encoders that need it choose it themselves; formats that need it do not."""
    tissue: Tissue = Tissue()
    """Where tissue is sought: section Tissue."""
    tiles: Tiles = Tiles()
    """Which tiles are cut: section Tiles."""
    encoder: Encoder = Encoder()
    """What turns tiles into vectors: section Encoder."""
    folds: Folds = Folds()
    """How slides are divided: section Folds."""
    models: list[ModelEntry] = Field(default_factory=lambda: [Model(name=name) for name in PAPER_MODELS], min_length=1)
    """Models to train, by default the paper's four: a name, or a mapping with `name` and any key of section Model."""
    training: Training = Training()
    """How models are trained: section Training."""
    ablation: Ablation = Ablation()
    """What is compared by `snakemake ablation`: section Ablation."""
    overhead: Overhead = Overhead()
    """What is measured by `snakemake overhead`: section Overhead."""
    max_failed_fraction: float = Field(0.05, ge=0, le=1)
    """A data set stops when more than this fraction of its slides failed. Slides without tissue count as failed."""
    slide_timeout: float = Field(600.0, gt=0)
    """Seconds that reading a slide may stand still: without its tissue found, or without more tiles, it is `timed_out`."""
    slides_per_batch: int = Field(25, ge=1)
    """Slides that one job segments, tiles or embeds."""

    @property
    def needs_tiatoolbox(self) -> bool:
        return self.tiatoolbox or self.tissue.needs_tiatoolbox or bool(encoder_spec(self.encoder.name).architecture)

    @model_validator(mode="after")
    def _tiles_of_the_encoder(self) -> "Config":
        spec = encoder_spec(self.encoder.name)
        usual = {"size": spec.tile_px, "mpp": spec.mpp}
        given = {key: getattr(self.tiles, key) for key in self.tiles.model_fields_set}
        object.__setattr__(self, "tiles", Tiles(**{**usual, **given}))
        return self

    @field_validator("datasets")
    @classmethod
    def _folders(cls, datasets: dict[str, Dataset]) -> dict[str, Dataset]:
        if taken := {"logs", "benchmarks", "overhead"} & set(datasets):
            raise ValueError(f"{taken.pop()} is a folder of the results already: choose another name")
        return datasets

    @field_validator("models")
    @classmethod
    def _labels(cls, models: list[Model]) -> list[Model]:
        return _named_once(models)


def load_config(path: Path) -> Config:
    """Read and validate a configuration file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return read_settings(Config, text, where=str(path))
