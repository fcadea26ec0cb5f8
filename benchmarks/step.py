"""What a training step of ro-abmil costs in time and memory, against the attention and matrix products alone.

    python benchmarks/step.py [--tiles 2000 5000 10000 20000] [--rounds 3]

CPU: one slide per step. `bare` is the fused attention kernel and the matrix products of the model's linear layers, forward
and backward, on tensors of the same shapes. Memory is the peak in addition to features and model, in a separate process.
GPU, if there is one: 4 slides with 160,000 tiles in total, in bf16, packed and bag by bag, against the bare kernels. Training
repeats exactly, which takes time there: the kernels that do not repeat are measured too, and are the bare ones.
All are measured alternately, since machines are noisy: quote the ratios.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.nn.functional import scaled_dot_product_attention

from roformermil.models import attention, build_model
from roformermil.models.build import mil_loss
from roformermil.runtime.gpus import autocast, repeat_exactly
from roformermil.runtime.text import markdown_table
from roformermil.studies.measure import peak_memory, reset_peak_memory

F, D, A, HEADS = 1024, 512, 256, 8
# (inputs, outputs, whether the gradient of the input is needed) of the linear layers that every tile goes through
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
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:  # the separate process
        print(peak_memory_of_step(options.memory))
        return
    measure_cpu(options.tiles, options.rounds)
    if torch.cuda.is_available():
        measure_gpu(options.rounds)
    else:
        print("\nNo GPU here: nothing was measured on one.")


def measure_cpu(sizes: list[int], rounds: int) -> None:
    device, rows, first = torch.device("cpu"), [], None
    for tiles in sizes:
        runs = {"step": training_step(device, [tiles]), "bare": bare_kernels(device, [tiles])}
        times = time_alternately(runs, rounds)
        ratio = statistics.median(a / b for a, b in zip(times["step"], times["bare"], strict=True))
        step, bare = (statistics.median(times[name]) for name in ("step", "bare"))
        attention_tflop = 14 * tiles**2 * D / 1e12
        tflop = attention_tflop + 6 * tiles * sum(i * o for i, o, _ in LINEAR) / 1e12
        first = first or (step, tflop)
        command = [sys.executable, __file__, "--memory", str(tiles)]
        memory = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rounded = (f"{x:.2f}" for x in (step, bare, ratio, attention_tflop))
        rows.append((f"{tiles:,}", *rounded, f"{step / first[0]:.1f}", f"{tflop / first[1]:.1f}", f"{memory:.2f}"))
    print(f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}, medians of {rounds} rounds\n")
    header = ("tiles", "step, s", "bare, s", "step / bare", "attention, TFLOP")
    print(markdown_table((*header, "step / the smallest's", "flops / the smallest's", "memory, GB"), rows))


def peak_memory_of_step(tiles: int) -> float:
    """Peak GB of a training step in addition to libraries, model and features."""
    training_step(torch.device("cpu"), [64])()  # loads what is loaded on first use
    step = training_step(torch.device("cpu"), [tiles])
    before = reset_peak_memory()
    step()
    return peak_memory() - before


def measure_gpu(rounds: int) -> None:
    device, lengths = torch.device("cuda"), [50_000, 44_000, 36_000, 30_000]
    runs = {
        "packed": training_step(device, lengths),
        "packed, does not repeat": training_step(device, lengths, repeatable=False),
        "bag by bag": training_step(device, lengths, packed=False),
        "attention alone, padded, with a mask": padded_attention(device, lengths),
        "attention alone, packed": packed_attention(device, lengths, torch.bfloat16),
        "bare": bare_kernels(device, lengths, torch.bfloat16),
    }
    peaks = {}
    for name, run in runs.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1e9
    rows = []
    times = time_alternately(runs, rounds)
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times["bare"], strict=True))
        rows.append((name, f"{statistics.median(values):.3f}", f"{ratio:.2f}", f"{peaks[name]:.2f}"))
    print(f"\n{torch.cuda.get_device_name()}, 4 slides of 30,000 to 50,000 tiles, 160,000 in total, bf16\n")
    print(markdown_table(("", "s", "against bare", "peak GB"), rows))


def training_step(
    device: torch.device, lengths: list[int], packed: bool = True, repeatable: bool = True
) -> Callable[[], None]:
    """Forward, backward and Adam of ro-abmil on slides of random features; bf16 on a GPU. repeatable: as in training."""
    repeat_exactly()  # sets what has to be set before the first matrix product
    torch.manual_seed(0)
    model = build_model({"name": "ro-abmil"}, F, 2).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    features, grid = (
        torch.randn(sum(lengths), F, device=device).half(),  # as in the stores
        torch.randint(0, 300, (sum(lengths), 2), device=device),
    )
    labels = torch.arange(len(lengths), device=device) % 2

    def run() -> None:
        torch.set_deterministic_debug_mode("error" if repeatable else "default")
        original = attention._has_packed_kernel
        if not packed:
            attention._has_packed_kernel = lambda q: False
        try:
            with autocast(device, torch.bfloat16 if device.type == "cuda" else torch.float32):
                loss = mil_loss(model(features, grid, lengths), labels, lengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        finally:
            attention._has_packed_kernel = original
            torch.set_deterministic_debug_mode("default")

    return run


def bare_kernels(device: torch.device, lengths: list[int], dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    """The attention kernel and the matrix products of the same step, and nothing else."""
    total = sum(lengths)
    layers = []
    for i, o, needs_gradient in LINEAR:
        shapes = (total, i), (o, i), (total, o)  # inputs, weights, gradient of the outputs
        layers.append((*(torch.randn(shape, device=device, dtype=dtype) for shape in shapes), needs_gradient))
    attend = packed_attention(device, lengths, dtype)

    def run() -> None:
        for x, weight, gradient, needs_gradient in layers:
            x @ weight.T
            gradient.T @ x
            if needs_gradient:
                gradient @ weight
        attend()

    return run


def padded_attention(device: torch.device, lengths: list[int]) -> Callable[[], None]:
    """Attention alone over bags padded to a common length, as batches without packing need it."""
    shape = (len(lengths), HEADS, max(lengths), D // HEADS)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    mask = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]

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


def time_alternately(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round, after one round that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
