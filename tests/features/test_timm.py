"""With the real timm, in tiatoolbox's environment, which has a torchvision that fits: `make test-tiatoolbox`."""

import sys

import pytest
import torch

from roformermil.config import Encoder
from roformermil.config.encoder_specs import SPECS
from roformermil.errors import WeightsError
from roformermil.features.encoders import TileEncoder, load_trunk

TILES = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
# Parameters in millions, as the models' cards and papers state them
PUBLISHED = {"uni": 303, "uni2-h": 681, "virchow": 631, "virchow2": 631, "h-optimus-0": 1135, "h-optimus-1": 1135}


@pytest.mark.tiatoolbox
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.hub])
def test_foundation_models_have_their_published_size(name):
    with torch.device("meta"):
        trunk = load_trunk(Encoder(name=name, weights="random"))
    assert sum(p.numel() for p in trunk.parameters()) / 1e6 == pytest.approx(PUBLISHED[name], rel=0.01)


@pytest.mark.tiatoolbox
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_any_model_of_timm_encodes_tiles_as_timm_does(name, tmp_path):
    import timm
    from torchvision.transforms import Normalize, Resize

    plain = timm.create_model(name, num_classes=0).eval()
    torch.save(plain.state_dict() | {"head.weight": torch.zeros(3)}, tmp_path / "net.pth")
    encoder = TileEncoder(Encoder(name=f"timm:{name}", weights=str(tmp_path / "net.pth")))
    x = TILES.permute(0, 3, 1, 2) / 255
    if name.startswith("vit"):
        x = Resize(224, interpolation=3, antialias=True)(x).clamp(0, 1)
    with torch.no_grad():
        expected = plain(Normalize(plain.pretrained_cfg["mean"], plain.pretrained_cfg["std"])(x))
    assert torch.allclose(encoder(TILES), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.tiatoolbox
def test_virchows_vector_is_the_class_token_and_the_mean_of_the_patch_tokens():
    import timm

    from roformermil.features.timm_models import ClassAndMean

    trunk = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="", reg_tokens=4).eval()
    tokens = trunk(x := torch.randn(2, 3, 224, 224))
    assert tokens.shape[1] == 1 + 4 + 14 * 14
    assert torch.equal(ClassAndMean(trunk, 5)(x), torch.cat((tokens[:, 0], tokens[:, 5:].mean(1)), dim=1))


@pytest.mark.tiatoolbox
@pytest.mark.parametrize("name", ["timm:no_such_net", "uni"])
def test_models_that_the_hub_does_not_provide_are_named(name):
    with pytest.raises(WeightsError, match="encoder.weights to its file"):
        load_trunk(Encoder(name=name))


def test_without_timm_its_encoders_name_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "roformermil.features.timm_models", raising=False)
    with pytest.raises(WeightsError, match="pip install timm, or use `make tiatoolbox`"):
        load_trunk(Encoder(name="uni", weights="random"))
