from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d

from roformermil.config import Encoder
from roformermil.errors import WeightsError
from roformermil.features import weights
from roformermil.features.encoders import TileEncoder, build_encoder, load_trunk
from roformermil.features.resnet import Bottleneck, ResNet50Trunk
from roformermil.features.weights import weights_id
from roformermil.runtime.files import file_sha256

TILES = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def plain(trunk: nn.Module, tiles: torch.Tensor) -> torch.Tensor:
    """ResNet-50 to layer3 written out from torchvision's names and strides, sharing nothing but the state dict."""
    state = trunk.state_dict()

    def conv_norm(x, conv, norm, stride=1, padding=0):
        x = conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        moments = (state[f"{norm}.running_mean"], state[f"{norm}.running_var"])
        return batch_norm(x, *moments, state[f"{norm}.weight"], state[f"{norm}.bias"])

    x = tiles.permute(0, 3, 1, 2).contiguous() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = max_pool2d(conv_norm(x, "conv1", "bn1", stride=2, padding=3).relu(), 3, stride=2, padding=1)
    for layer, blocks in ((1, 3), (2, 4), (3, 6)):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = conv_norm(x, f"{name}.conv1", f"{name}.bn1").relu()
            y = conv_norm(y, f"{name}.conv2", f"{name}.bn2", stride=stride, padding=1).relu()
            y = conv_norm(y, f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
            x = (x + y).relu()
    return x.mean(dim=(2, 3))


def test_the_trunk_is_resnet50_through_layer3():
    """Counted from He et al. 2016, table 1: 1 + 3 * (3 + 4 + 6) convolutions and 3 shortcuts, 8,543,296 parameters."""
    trunk = ResNet50Trunk()
    assert sum(isinstance(m, nn.Conv2d) for m in trunk.modules()) == 1 + 3 * 13 + 3
    assert sum(isinstance(m, Bottleneck) for m in trunk.modules()) == 13
    assert sum(p.numel() for p in trunk.parameters()) == 8_543_296
    assert trunk(torch.zeros(1, 3, 64, 64)).shape == (1, 1024)
    assert "layer2.0.downsample.1.running_mean" in trunk.state_dict()


def test_folding_and_channels_last_change_nothing():
    settings = Encoder(weights="random", seed=3)
    fast, slow = build_encoder(settings)(TILES), plain(load_trunk(settings), TILES)
    assert torch.allclose(fast, slow, atol=2e-4, rtol=1e-4)


def test_random_weights_follow_their_seed_and_tell_tiles_apart():
    one, same, other = (build_encoder(Encoder(weights="random", seed=s))(TILES) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)
    black_and_white = torch.stack([torch.zeros(64, 64, 3), torch.full((64, 64, 3), 255)]).to(torch.uint8)
    black, white = build_encoder(Encoder(weights="random"))(black_and_white)
    assert (black - white).norm() > 0.1 * black.norm()


def test_a_weights_file_with_a_classifier_on_top_loads(tmp_path):
    trunk = load_trunk(Encoder(weights="random"))
    state = trunk.state_dict() | {"fc.weight": torch.zeros(10, 2048), "layer4.0.conv1.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "net.pth")
    loaded = Encoder(weights=str(tmp_path / "net.pth"))
    assert torch.equal(plain(load_trunk(loaded), TILES), plain(trunk, TILES))
    assert len(weights_id(loaded, trunk)) == 64


@pytest.fixture
def server(tmp_path):
    """A real HTTP server over a folder; returns the folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_imagenet_weights_are_fetched_once_and_verified(server, tmp_path, monkeypatch):
    folder, address = server
    trunk = load_trunk(Encoder(weights="random"))
    torch.save(trunk.state_dict(), tmp_path / "net.pth")
    name = f"resnet50-{file_sha256(tmp_path / 'net.pth')[:8]}.pth"
    served = (tmp_path / "net.pth").rename(folder / name)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "IMAGENET_URL", f"{address}/{name}")
    assert torch.equal(plain(load_trunk(Encoder()), TILES), plain(trunk, TILES))
    served.write_bytes(b"damaged")
    assert torch.equal(plain(load_trunk(Encoder()), TILES), plain(trunk, TILES)), "fetched once"
    (tmp_path / "hub/checkpoints" / name).unlink()
    with pytest.raises(WeightsError, match=r"(?s)could not be fetched.*put it at.*" + name):
        load_trunk(Encoder())
    assert not (tmp_path / "hub/checkpoints" / name).exists()


@pytest.mark.parametrize("content", [b"", b"not torch", None])
def test_bad_weights_are_named(tmp_path, content):
    path = tmp_path / "net.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.pth"):
        load_trunk(Encoder(weights=str(path)))


def test_weights_of_another_network_are_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="torchvision's names"):
        load_trunk(Encoder(weights=str(tmp_path / "net.pth")))


def test_weights_that_run_code_are_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    torch.save({"conv1.weight": Harm()}, tmp_path / "net.pth")
    with pytest.raises(WeightsError):
        load_trunk(Encoder(weights=str(tmp_path / "net.pth")))
    assert not (tmp_path / "harmed").exists()


def test_half_precision_stays_close():
    trunk = load_trunk(Encoder(weights="random"))
    exact = plain(trunk, TILES)
    half = TileEncoder(trunk, torch.device("cpu"), "bf16")(TILES)
    assert (half - exact).norm() < 0.05 * exact.norm()


@pytest.mark.shared
def test_real_weights_see_what_is_in_a_tile(shared):
    """Features of real lung patches equal those that came with them, computed elsewhere with another implementation."""
    folder = shared / "patches/lc25000_lung_224"
    stored = np.load(folder / "resnet50_layer3_features.npz")
    file = shared / "weights/resnet50_msra_caffe_conv1-layer3_tvlayout.pth"
    encoder = build_encoder(Encoder(weights=str(file)))
    chosen = range(0, len(stored["path"]), 60)
    images = np.stack([cv2.imread(str(folder / str(stored["path"][k])))[..., ::-1] for k in chosen])
    found = encoder(torch.from_numpy(images.copy())).numpy()
    expected = stored["features"][list(chosen)].astype(np.float32)
    similarity = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert similarity.min() > 0.8
