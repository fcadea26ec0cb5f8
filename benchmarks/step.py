"""What a training step of ro-abmil costs in time and memory, against the attention and matrix products alone.

    python benchmarks/step.py [--tiles 2000 5000 10000 20000] [--rounds 3]

CPU: one slide a step; `bare` is the fused attention kernel and the matrix products of the model's linear layers, forward
and backward, on tensors of the same shapes. Memory is the peak above features and model, in a process of its own.
GPU, where there is one: 4 slides of 160,000 tiles in all, in bf16, packed and bag by bag, against the bare kernels.
All ways are measured in turn, round by round: quote the ratios, machines are noisy.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from roformermil.models import attention, build_model
from roformermil.models.build import mil_loss
from roformermil.studies.measure import peak_memory, reset_peak_memory

F, D, A, HEADS = 1024, 512, 256, 8
# (inputs, outputs, whether the gradient of the input is needed) of the linear layers that every tile passes
LINEAR = (
    (F, D, False),
    (D, 3 * D, True),
    (D, D, True),
    (D, 4 * D, True),
    (4 * D, D, True),
    (D, D, True),
    (D, A, True),
    (D, A, True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[2000, 5000, 10_000, 20_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)  # what the processes of their own are asked
    options = parser.parse_args()
    if options.memory:
        print(memory(options.memory))
        return
    cpu(options.tiles, options.rounds)
    if torch.cuda.is_available():
        gpu(options.rounds)
    else:
        print("\nNo GPU here: nothing was measured on one.")


def cpu(sizes: list[int], rounds: int) -> None:
    print(f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}, medians of {rounds} rounds\n")
    print("| tiles | step, s | bare, s | step / bare | attention, TFLOP | step / the smallest's | flops / the smallest's "
          "| memory, GB |\n" + "|---" * 8 + "|")  # fmt: skip
    first: tuple[float, float] | None = None
    for tiles in sizes:
        step, bare = training_step(torch.device("cpu"), [tiles]), bare_kernels(torch.device("cpu"), [tiles])
        times = alternate({"base_px": step, "bare": bare}, rounds)
        ratio = statistics.median(a / b for a, b in zip(times["step"], times["bare"], strict=True))
        middle = statistics.median(times["step"])
        flops = (14 * tiles**2 * D + 6 * tiles * sum(i * o for i, o, _ in LINEAR)) / 1e12
        first = first or (middle, flops)
        peak = subprocess.run(
            [sys.executable, __file__, "--memory", str(tiles)], capture_output=True, text=True, check=True
        )
        print(f"| {tiles:,} | {middle:.2f} | {statistics.median(times['bare']):.2f} | {ratio:.2f} "
              f"| {14 * tiles**2 * D / 1e12:.2f} | {middle / first[0]:.1f} | {flops / first[1]:.1f} "
              f"| {float(peak.stdout):.2f} |", flush=True)  # fmt: skip


def memory(tiles: int) -> float:
    """Peak GB of a step's forward and backward above what stood before: libraries, model, features."""
    training_step(torch.device("cpu"), [64])()  # loads what is loaded on first use
    step = training_step(torch.device("cpu"), [tiles])
    before = reset_peak_memory()
    step()
    return peak_memory() - before


def gpu(rounds: int) -> None:
    device, lengths = torch.device("cuda"), [50_000, 44_000, 36_000, 30_000]
    ways = {
        "packed": training_step(device, lengths),
        "bag by bag": training_step(device, lengths, packed=False),
        "attention alone, padded, with a mask": padded_attention(device, lengths),
        "attention alone, packed": packed_attention(device, lengths, torch.bfloat16),
        "bare": bare_kernels(device, lengths, torch.bfloat16),
    }
    peaks = {}
    for name, run in ways.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1e9
    times = alternate(ways, rounds)
    print(
        f"\n{torch.cuda.get_device_name()}, 4 slides of 30,000 to 50,000 tiles, 160,000 in all, bf16\n\n| | s | against bare | peak GB |\n|---|---|---|---|"
    )
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times["bare"], strict=True))
        print(f"| {name} | {statistics.median(values):.3f} | {ratio:.2f} | {peaks[name]:.2f} |")


def training_step(device: torch.device, lengths: list[int], packed: bool = True) -> Callable[[], None]:
    """Forward, backward and Adam of ro-abmil on slides of random features; bf16 on a GPU."""
    torch.manual_seed(0)
    model = build_model({"name": "ro-abmil"}, F, 2).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    features, grid = (
        torch.randn(sum(lengths), F, device=device).half(),  # as in the stores
        torch.randint(0, 300, (sum(lengths), 2), device=device),
    )
    labels = torch.arange(len(lengths), device=device) % 2

    def run() -> None:
        usual = attention._has_packed_kernel
        if not packed:
            attention._has_packed_kernel = lambda q: False
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = mil_loss(model(features, grid, lengths), labels, lengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        finally:
            attention._has_packed_kernel = usual

    return run


def bare_kernels(device: torch.device, lengths: list[int], dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    """The attention kernel and the matrix products of the same step, and nothing else."""
    total = sum(lengths)
    layers = [
        (torch.randn(total, i, device=device, dtype=dtype), torch.randn(o, i, device=device, dtype=dtype),
         torch.randn(total, o, device=device, dtype=dtype), needed)
        for i, o, needed in LINEAR
    ]  # fmt: skip
    attend = packed_attention(device, lengths, dtype)

    def run() -> None:
        for x, weight, gradient, needed in layers:
            x @ weight.T
            gradient.T @ x
            if needed:
                gradient @ weight
        attend()

    return run


def padded_attention(device: torch.device, lengths: list[int]) -> Callable[[], None]:
    """Attention alone over bags padded to a common length, as batches without packing need it (more is not counted)."""
    longest = max(lengths)
    q, k, v = (torch.randn(len(lengths), HEADS, longest, D // HEADS, device=device, dtype=torch.bfloat16, requires_grad=True)
               for _ in range(3))  # fmt: skip
    mask: Tensor = torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]

    def run() -> None:
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        torch.autograd.grad(out, (q, k, v), out.detach())

    return run


def packed_attention(device: torch.device, lengths: list[int], dtype: torch.dtype) -> Callable[[], None]:
    """Attention alone over the bags, as the model calls it."""
    shape = (sum(lengths), HEADS, D // HEADS)
    q, k, v = (torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3))

    def run() -> None:
        out = attention.attend(q, k, v, lengths)
        torch.autograd.grad(out, (q, k, v), out.detach())

    return run


def alternate(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, round by round, after one run that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
