import cv2
import numpy as np
import pytest
import torch

from roformermil.config import Encoder
from roformermil.errors import OutOfMemoryError, WeightsError
from roformermil.features import weights
from roformermil.features.encoders import TileEncoder, load_trunk
from roformermil.features.weights import weights_id
from roformermil.runtime.files import file_sha256
from tests.factories import serve_folder
from tests.features.reference_resnet import reference_features

RANDOM = Encoder(weights="random")
TILES = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_folded_batch_norms_and_channels_last_compute_the_same_and_bf16_nearly():
    settings = Encoder(weights="random", seed=3)
    fast, exact = TileEncoder(settings)(TILES), reference_features(load_trunk(settings), TILES)
    assert fast.shape == (3, 1024) and torch.allclose(fast, exact, atol=2e-4, rtol=1e-4)
    encoder = TileEncoder(settings.model_copy(update={"precision": "bf16"}))
    assert encoder.precision == "bf16" and TileEncoder(settings).precision in ("fp32", "fp16")
    assert (encoder(TILES).cpu() - exact).norm() < 0.05 * exact.norm()


def test_a_batch_that_was_begun_gives_the_same_features_in_half_precision():
    encoder = TileEncoder(RANDOM)
    assert encoder.batch_size == (128 if encoder.on_gpu else 32)
    wait = encoder.start(TILES)
    assert np.array_equal(wait(), encoder(TILES).cpu().numpy().astype(np.float16))


@pytest.mark.parametrize("said", ["CUDA out of memory. Tried to allocate 3.00 GiB", "CUDA error: out of memory"])
def test_a_batch_too_large_for_the_gpu_names_the_setting(said, monkeypatch):
    encoder = TileEncoder(RANDOM.model_copy(update={"batch_size": 512}))

    def fail(self, tiles):
        raise RuntimeError(said)

    monkeypatch.setattr(encoder, "on_gpu", True)
    monkeypatch.setattr(TileEncoder, "__call__", fail)
    with pytest.raises(OutOfMemoryError, match=r"for 512 tiles at a time: lower encoder\.batch_size"):
        encoder.prepare(tile_px=64)


def test_random_weights_depend_on_their_seed_and_tell_tiles_apart():
    one, same, other = (TileEncoder(Encoder(weights="random", seed=s))(TILES) for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.allclose(one, other, atol=0.1)
    black, white = TileEncoder(RANDOM)(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 64, 64, 3))
    assert (black - white).norm() > 0.1 * black.norm()


def test_a_weights_file_with_a_classifier_on_top_loads(tmp_path):
    trunk = load_trunk(RANDOM)
    state = trunk.state_dict() | {"fc.weight": torch.zeros(10, 2048), "layer4.0.conv1.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "net.pth")
    loaded = Encoder(weights=str(tmp_path / "net.pth"))
    assert torch.equal(reference_features(load_trunk(loaded), TILES), reference_features(trunk, TILES))
    assert len(weights_id(loaded, trunk)) == 64


def test_imagenet_weights_are_downloaded_once_and_verified(tmp_path, monkeypatch):
    trunk = load_trunk(RANDOM)
    torch.save(trunk.state_dict(), tmp_path / "net.pth")
    name = f"resnet50-{file_sha256(tmp_path / 'net.pth')[:8]}.pth"
    served = (tmp_path / "net.pth").rename(tmp_path / name)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    with serve_folder(tmp_path) as address:
        monkeypatch.setattr(weights, "IMAGENET_URL", f"{address}/{name}")
        assert torch.equal(reference_features(load_trunk(Encoder()), TILES), reference_features(trunk, TILES))
        served.write_bytes(b"damaged")
        assert torch.equal(reference_features(load_trunk(Encoder()), TILES), reference_features(trunk, TILES)), "once"
        (tmp_path / "hub/checkpoints" / name).unlink()
        with pytest.raises(WeightsError, match=r"(?s)could not be downloaded.*put it at.*" + name):
            load_trunk(Encoder())
    assert not (tmp_path / "hub/checkpoints" / name).exists()


@pytest.mark.parametrize("content", [None, b"", b"not torch", {"conv1.weight": torch.zeros(3)}, [1, 2]])
def test_files_without_the_networks_weights_are_named(tmp_path, content):
    path, problem = tmp_path / "net.pth", "is neither"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
        problem = "does not fit a ResNet-50 with torchvision's names"
    with pytest.raises(WeightsError, match=rf"net\.pth {problem}"):
        load_trunk(Encoder(weights=str(path)))


def test_weights_that_run_code_are_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    torch.save({"conv1.weight": Harm()}, tmp_path / "net.pth")
    with pytest.raises(WeightsError):
        load_trunk(Encoder(weights=str(tmp_path / "net.pth")))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.shared
def test_real_weights_give_the_features_of_another_implementation(shared):
    """Features of real lung tiles resemble those that were published with them."""
    folder = shared / "patches/lc25000_lung_224"
    stored = np.load(folder / "resnet50_layer3_features.npz")
    encoder = Encoder(weights=str(shared / "weights/resnet50_msra_caffe_conv1-layer3_tvlayout.pth"))
    images = np.stack([cv2.imread(str(folder / str(path)))[..., ::-1] for path in stored["path"][::60]])
    computed = TileEncoder(encoder)(torch.from_numpy(images.copy())).numpy()
    expected = stored["features"][::60].astype(np.float32)
    similarity = (computed * expected).sum(1) / np.linalg.norm(computed, axis=1) / np.linalg.norm(expected, axis=1)
    assert similarity.min() > 0.8
