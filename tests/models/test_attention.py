import torch

from roformermil.models.attention import attend


def test_attention_is_exact_and_bags_never_see_each_other():
    lengths = [5, 1, 9]
    q, k, v = torch.randn(3, 15, 2, 4, generator=torch.Generator().manual_seed(0))
    out = attend(q, k, v, lengths)
    start = 0
    for n in lengths:
        bag = slice(start, start + n)
        for head in range(2):
            weights = (q[bag, head] @ k[bag, head].T / 2).softmax(dim=1)
            assert torch.allclose(out[bag, head], weights @ v[bag, head], atol=1e-5)
        start += n
