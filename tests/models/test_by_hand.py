"""Whole models against the equations of docs/method.md, written again in NumPy, one tile or pair of tiles at a time."""

import math

import numpy as np
import pytest
import torch

from roformermil.models import build_model
from roformermil.models.roformer import Dropout
from tests.models import MODELS

LENGTHS = [6, 1, 4]
SETTINGS = {"hidden_dim": 16, "attention_dim": 12, "num_heads": 2, "num_layers": 2, "dropout": 0.375}
LANG = {"rope_frequencies": "lang", "rope_scale": 0.7}


class ByHand:
    """The equations, with the parameters of a model."""

    def __init__(self, model):
        self.settings = model.settings
        self.dropout = 1 + model.settings.dropout  # what dropout multiplies by in this test
        self.parameters = {name: value.numpy() for name, value in model.state_dict().items()}

    def linear(self, name, x):
        return x @ self.parameters[f"{name}.weight"].T + self.parameters[f"{name}.bias"]

    def norm(self, name, x):
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        return x * self.parameters[f"{name}.weight"] + self.parameters[f"{name}.bias"]

    def feed_forward(self, name, x):
        x = self.linear(f"{name}.widen", x)
        gelu = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return self.linear(f"{name}.narrow", gelu)

    def angles(self, offset, pairs, head):
        """By how much each pair of a head's values is rotated between tiles this far apart.

        Along two axes x comes in the first half, then y; `pairs` is their number per axis. Isotropic frequencies have lengths
        from 1 to 1 / 64, each in the direction of the one before plus the golden angle.
        """
        if self.settings.rope_frequencies == "isotropic":
            lengths = 64.0 ** -np.linspace(0, 1, 2 * pairs)
            turns = 2 * np.pi * (np.arange(2 * pairs) + 2 * pairs * head) * (np.sqrt(5) - 1) / 2
            return self.settings.rope_scale * lengths * (offset[0] * np.cos(turns) + offset[1] * np.sin(turns))
        if self.settings.rope_frequencies == "pixel":
            frequencies = math.pi / 400 * np.linspace(1, 200, pairs)
        else:
            frequencies = 10000.0 ** (-np.arange(pairs) / pairs)
        return self.settings.rope_scale * np.concatenate([offset[0] * frequencies, offset[1] * frequencies])

    def score(self, q, k, offset, head):
        """A tile's query times another's key, with their offset on the grid."""
        position = self.settings.position
        if position == "rope":
            turned = k.reshape(-1, 2) @ [1, 1j] * np.exp(1j * self.angles(offset, len(k) // 4, head))
            k = np.stack([turned.real, turned.imag], axis=1).ravel()
        score = q @ k / math.sqrt(len(q))
        return (
            score - 2 ** (-8 * (head + 1) / self.settings.num_heads) * np.hypot(*offset)
            if position == "alibi"
            else score
        )

    def attention(self, name, x, grid):
        heads = self.settings.num_heads
        q, k, v = (y.reshape(len(x), heads, -1) for y in np.split(self.linear(f"{name}.qkv", x), 3, axis=1))
        out = np.zeros_like(v)
        for head in range(heads):
            for m in range(len(x)):
                scores = [self.score(q[m, head], k[n, head], grid[n] - grid[m], head) for n in range(len(x))]
                out[m, head] = softmax(np.array(scores)) @ v[:, head]
        return self.linear(f"{name}.out", out.reshape(len(x), -1))

    def sine(self, grid):
        pairs = self.settings.hidden_dim // 4
        angles = grid[:, :, None] * 10000.0 ** (-np.arange(pairs) / pairs)
        return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(grid), -1)

    def embed(self, features, grid):
        x = self.linear("project", features)
        if self.settings.position == "sine":
            x = x + self.sine(grid)
        for layer in (f"blocks.{k}" for k in range(self.settings.num_layers)):
            norm = "norm"
            if self.settings.is_roformer:
                x = x + self.dropout * self.attention(f"{layer}.attention", self.norm(f"{layer}.norm1", x), grid)
                norm = "norm2"
            x = x + self.dropout * self.feed_forward(f"{layer}.mlp", self.norm(f"{layer}.{norm}", x))
        return x

    def abmil(self, x):
        heads, queries = self.settings.num_heads, self.parameters["head.queries"]
        x = self.dropout * np.maximum(self.linear("head.project.0", x), 0)
        keys, values = self.linear("head.keys", x), self.linear("head.values", x)
        logits, attention = [], []
        for c, query in enumerate(queries):
            q, k, v = (np.split(y, heads, axis=-1) for y in (query, keys, values))
            weights = [softmax(k[h] @ q[h] / math.sqrt(len(q[h]))) for h in range(heads)]
            z = self.linear("head.out", np.concatenate([w @ u for w, u in zip(weights, v, strict=True)]))
            logits.append(self.linear("head.classifiers", z)[c])
            attention.append(np.mean(weights, axis=0))
        return np.array(logits), np.stack(attention, axis=1), None

    def dsmil(self, x):
        scores = self.linear("head.instances", x)
        q = np.tanh(self.linear("head.query.2", np.maximum(self.linear("head.query.0", x), 0)))
        critical = q[scores.argmax(axis=0)]  # row c: the query of the tile with the highest score of class c
        attention = np.stack([softmax(q @ of_class / math.sqrt(128)) for of_class in critical], axis=1)
        pooled, weight = attention.T @ x * self.dropout, self.parameters["head.classifier.weight"]  # (C, D), (C, C, D)
        return (weight * pooled).sum(axis=(1, 2)) + self.parameters["head.classifier.bias"], attention, scores

    def gated_abmil(self, x):
        gate = 1 / (1 + np.exp(-self.linear("head.gate", x)))
        weights = softmax(self.linear("head.weigh", np.tanh(self.linear("head.branch", x)) * gate)[:, 0])
        logits = self.linear("head.classifier", weights @ x * self.dropout)
        return logits, np.repeat(weights[:, None], len(logits), axis=1), None

    def mean(self, x):
        logits = self.linear("head.classifier", x.mean(axis=0) * self.dropout)
        return logits, np.full((len(x), len(logits)), 1 / len(x)), None

    def max(self, x):
        scores = self.linear("head.classifier", x * self.dropout)
        return scores.max(axis=0), (scores == scores.max(axis=0)).astype(float), None


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {}) for name in MODELS if name != "transmil"]
    + [("ro-abmil", LANG), ("ro-dsmil", LANG), ("ro-abmil", {"rope_frequencies": "pixel", "rope_locality": 0.0})]
    + [("ro-abmil", {"position": p}) for p in ("sine", "alibi", "none")],
)
def test_a_model_is_what_its_equations_say(name, settings, monkeypatch):
    """Dropout multiplies by 1 + p here, so that its places and probability count too."""
    monkeypatch.setattr(Dropout, "forward", lambda self, x: x * (1 + self.p))
    torch.manual_seed(0)
    model = build_model({"name": name, **SETTINGS, **settings}, in_dim=5, n_classes=3).double()
    generator = torch.Generator().manual_seed(1)
    features = 2 * torch.randn(11, 5, generator=generator, dtype=torch.float64)
    grid = torch.randint(-5, 40, (11, 2), generator=generator)
    with torch.no_grad():
        out = model(features, grid, LENGTHS)
    hand = ByHand(model)
    head = getattr(hand, name.removeprefix("ro-").replace("-", "_"))
    bags = zip(features.split(LENGTHS), grid.split(LENGTHS), strict=True)
    logits, attention, scores = zip(*(head(hand.embed(f.numpy(), g.numpy())) for f, g in bags), strict=True)
    np.testing.assert_allclose(out.logits, np.stack(logits), atol=1e-6)
    np.testing.assert_allclose(out.attention, np.concatenate(attention), atol=1e-6)
    if "dsmil" in name:
        np.testing.assert_allclose(out.instance_logits, np.concatenate(scores), atol=1e-6)
    else:
        assert out.instance_logits is None
