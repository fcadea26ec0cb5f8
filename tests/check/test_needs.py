from unittest.mock import Mock

import requests

from roformermil.check.needs import check_weights
from tests.check.run import configure, edit, problems


def test_weights_that_cannot_be_downloaded_or_loaded_are_errors(folder, monkeypatch):
    def no_network(url, **options):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", no_network)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(folder / "hub"))
    (message,) = check_weights(configure(folder, encoder={}))
    file = "resnet50-0676ba61.pth"
    assert f"encoder.weights: imagenet is not downloaded yet, and https://download.pytorch.org/models/{file}" in str(
        message
    )
    assert f"cannot be reached (ConnectionError): put that file at {folder}/hub/checkpoints/{file}" in str(message)
    monkeypatch.setattr(requests, "head", lambda url, **options: Mock())
    assert list(check_weights(configure(folder, encoder={}))) == []
    (message,) = check_weights(configure(folder, encoder={"weights": str(folder / "s6.tif")}))
    assert "s6.tif is neither a torch state dict nor a .safetensors file" in str(message)


def test_missing_packages_and_what_may_be_a_mistake_are_warnings(folder):
    edit(folder, ("s1,p1", "s1,p0"), ("s3,p3", "s3,P-03"), ("s5,p5", "s5,p_3"), ("s6,p6,a,s6.tif\n", ""))
    tiatoolbox, timm, patients, alike, *_ = problems(
        folder, "warning", tissue={"method": "grandqc"}, encoder={"name": "uni"}
    )
    assert tiatoolbox.startswith("tissue.method grandqc needs tiatoolbox") and timm.startswith("encoder uni needs timm")
    assert patients.startswith("set: patients with slides of several labels: p0")
    assert alike.startswith("set: these look like one patient each: P-03 / p_3.")
