"""What a package contains and its card says; packages that are damaged or do not fit."""

import re
import shutil

import pytest
from safetensors.numpy import load_file

from roformermil.bags.leakage import Finding, write_findings
from roformermil.config import Folds, Leakage, Model
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation, render_card
from roformermil.deployment.predict import load_packaged_model, predict
from roformermil.errors import LeakError, ModelError
from tests.deployment.lab import DATA, RUN, STORES

WRONG_CARDS = [
    ({"classes": ["excluded", "inflamed"]}, "other classes"),
    ({"members": {}}, "members"),
    ({"members": {"../fold_0.safetensors": "0"}}, "members"),
    ({"features": None}, "features"),
]


def test_the_card_describes_the_training_data_and_its_limits(lab):
    card = load_packaged_model(lab / "model").card
    assert card.training_data.slides == card.training_data.patients == 6
    assert card.training_data.labels == {"inflamed": 3, "excluded": 3}
    text = (lab / "model/README.md").read_text()
    assert re.search(r"6 slides of 6 patients \((3 inflamed, 3 excluded|3 excluded, 3 inflamed)\)", text)
    assert "roformermil predict slides/ --model" in text
    assert all(f"- {caution}\n" in text for caution in card.cautions) and "random encoder weights" in card.cautions[0]


def test_the_card_says_what_training_did_to_features_and_positions(lab):
    card = load_packaged_model(lab / "model").card

    def training_section(name="ro-abmil", **changes):
        model = Model(name=name, hidden_dim=32, attention_dim=16, num_heads=2)
        training = card.training.model_copy(update=changes)
        text = render_card(card.model_copy(update={"model": model, "training": training}))
        _, *section = text.split("## Training\n\n")
        return section[0].split("\n\n##")[0] if section else ""

    mean = "of each fold's training slides, kept in the model's file."
    step = "In each training step, the grid of each slide's tiles was"
    flipped, rotated = (
        f"{step} flipped and turned by right angles at random.",
        f"{step} turned by any angle and scaled by 0.8 to 1.25 at random.",
    )
    assert training_section() == f"Features are standardized with the mean and standard deviation {mean} {rotated}"
    assert training_section(normalize="center") == f"Features are centered on the mean {mean} {rotated}"
    assert training_section(normalize="none", augment_grid="flip") == flipped
    assert training_section("transmil", normalize="none", augment_grid="rotate") == flipped, "as training does"
    averaged = training_section(normalize="none", augment_grid="none", average_orientations=True)
    assert averaged == "A prediction is the mean over the eight orientations of the grid."
    assert training_section(normalize="none", augment_grid="none") == ""
    assert training_section("abmil", normalize="none", average_orientations=True) == ""
    weighted = training_section("abmil", normalize="none", class_weights=[1, 3])
    shares = "inflamed 50%, excluded 50% of the slides count as inflamed 25%, excluded 75%."
    assert weighted.startswith(
        f"The loss of a slide was weighted by its class (inflamed 0.50, excluded 1.50): {shares}"
    )
    assert "Probabilities are calibrated to these, not to how frequent the classes are" in weighted
    assert training_section("abmil", normalize="none", sampler="balanced") == "", "classes are equally frequent anyway"


def test_a_package_contains_no_slide_name_and_no_path(lab, tmp_path):
    own = {"weights": "/home/someone/secret/resnet50.pth", "id": "r"}
    (tmp_path / "set").mkdir()
    for name in ("slides.csv", "folds.csv"):
        shutil.copy(lab / DATA / name, tmp_path / "set" / name)
    findings = [Finding("patients", "leak", 1, 'in two parts: "s3"')]
    with pytest.raises(LeakError):
        write_findings(findings, Leakage(), Folds(), "set", tmp_path / "set/leakage.csv")
    (tmp_path / "set/leakage_failed.csv").rename(tmp_path / "set/leakage.csv")
    predictions = [lab / f"{RUN}/fold_{fold}/predictions.csv" for fold in range(3)]
    export_model(predictions, tmp_path / "set", lab / STORES, Preparation(encoder=own), tmp_path / "model")
    for path in (tmp_path / "model").iterdir():
        content = path.read_bytes()
        if path.suffix == ".safetensors":  # its header: parameters are any bytes
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        assert not re.search(rb'secret|"s[0-5]|slides/s', content), path
    text = (tmp_path / "model/README.md").read_text()
    assert "(patients: 1)" in text
    assert "--model THIS_FOLDER --weights resnet50.pth --out" in text and "`resnet50.pth` (--weights)" in text
    for fold in range(3):
        one = load_file(lab / RUN / f"fold_{fold}/model.safetensors")
        other = load_file(tmp_path / f"model/fold_{fold}.safetensors")
        assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
    message = "needs the weights resnet50.pth, a file of the lab that trained it: give it with --weights"
    with pytest.raises(ModelError, match=message):
        predict([lab / "slides/s6.tif"], tmp_path / "model", tmp_path / "out", progress=False)


@pytest.mark.parametrize(("change", "message"), WRONG_CARDS)
def test_a_card_that_does_not_fit_its_models_is_an_error(change_card, change, message):
    with pytest.raises(ModelError, match=message):
        load_packaged_model(change_card(**change))


def test_a_damaged_or_missing_package_is_an_error(change_card, tmp_path):
    model = change_card()
    shutil.copy(model / "fold_1.safetensors", model / "fold_0.safetensors")
    with pytest.raises(ModelError, match=r"fold_0.safetensors: is not the file that was packaged"):
        load_packaged_model(model)
    (model / "fold_0.safetensors").unlink()
    with pytest.raises(ModelError, match=r"^/.*fold_0.safetensors: is missing: copy the model's whole folder again"):
        load_packaged_model(model)
    with pytest.raises(ModelError, match="is not a packaged model, a folder with model.json"):
        load_packaged_model(tmp_path)
