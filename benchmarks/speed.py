"""This trainer compared with the usual tutorial loop: images per second, memory, and what growth costs.

    python benchmarks/speed.py            images per second of both, alternating; about 3 minutes
    python benchmarks/speed.py quality    time to the tutorial loop's final FID; about 6 minutes
    python benchmarks/speed.py profile    where the time of a step goes, and the rate of this machine's matrix product
    python benchmarks/speed.py growth     speed and memory by batch size, width, workers, precision; about 4 minutes

Every measurement runs in a separate process, which imports only what it needs: peak memory and threads are its own.
The data must be there (`dvc repro download`).
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.paths import RAW_DATA
from dcgan.support.errors import exit_on_user_error

if TYPE_CHECKING:
    from dcgan.gan.network_summary import NetworkSummary
    from dcgan.gan.trainer import Trainer

ROUNDS = 5
SECONDS = 12.0  # per measurement
WARM_UP_STEPS = 20
TUTORIAL_IMAGES = 300_000  # five epochs


def measure(loop: str, changes: dict) -> dict[str, float]:
    """Run `measure_here` in a new process."""
    command = [sys.executable, __file__, "--measure", loop, json.dumps(changes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)  # the process has printed the reason
    return json.loads(done.stdout.splitlines()[-1])


def measure_here(loop: str, changes: dict) -> dict[str, float]:
    """{"images_per_s", "peak_mb"} of the loop "ours" or "tutorial", with changed parameters."""
    with tempfile.TemporaryDirectory() as folder:
        advance = _tutorial(folder, changes) if loop == "tutorial" else _ours(changes)
        for _ in range(WARM_UP_STEPS):
            advance()
        started, seen = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < SECONDS:
            seen += advance()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_s": seen / elapsed, "peak_mb": peak}


def _ours(changes: dict) -> Callable[[], int]:
    trainer = make_trainer(changes)

    def advance() -> int:
        trainer.step()
        return trainer.settings.batch_size

    return advance


def _tutorial(folder: str, changes: dict) -> Callable[[], int]:
    loop, batch_size = make_tutorial_loop(folder, changes)
    steps = loop.steps()

    def advance() -> int:
        next(steps)
        return batch_size

    return advance


def make_trainer(changes: dict) -> "Trainer":
    import torch

    from dcgan.data.mnist import load_split
    from dcgan.gan.device import keep_freed_memory, resolve_device, resolve_precision
    from dcgan.gan.trainer import Trainer
    from dcgan.params import load_params

    keep_freed_memory()
    params, device = load_params(), resolve_device()
    precision = resolve_precision(params.train.precision, device)
    in_model = {key: value for key, value in changes.items() if key in type(params.model).model_fields}
    in_train = {key: value for key, value in changes.items() if key in type(params.train).model_fields}
    model = params.model.model_copy(update=in_model)
    train = params.train.model_copy(update={"precision": precision} | in_train)
    images, labels = load_split(RAW_DATA, "train")
    return Trainer(model, train, torch.from_numpy(images), torch.from_numpy(labels), device)


def make_tutorial_loop(folder: str, changes: dict):
    from tutorial_loop import TutorialLoop

    from dcgan.params import load_params

    params = load_params()
    raw = Path(folder) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in RAW_DATA.glob("*-ubyte"):
        (raw / path.name).symlink_to(path.resolve())
    batch_size = changes.get("batch_size", params.train.batch_size)
    return TutorialLoop(params.model, batch_size, Path(folder)), batch_size


def compare() -> None:
    rates: dict[str, list[dict[str, float]]] = {"ours": [], "tutorial": []}
    for _ in range(ROUNDS):
        for loop, results in rates.items():
            results.append(measure(loop, {}))
    print("| loop | images/s, median (min to max) | peak memory |")
    print("|---|---|---|")
    for loop, results in rates.items():
        speeds = [result["images_per_s"] for result in results]
        spread = f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"
        print(f"| {loop} | {spread} | {max(result['peak_mb'] for result in results):,.0f} MB |")
    ratios = [a["images_per_s"] / b["images_per_s"] for a, b in zip(rates["ours"], rates["tutorial"], strict=True)]
    median = statistics.median(ratios)
    print(f"\nours / tutorial, in pairs: median {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def quality() -> None:
    """FID of the tutorial loop after five epochs, and the time in which this trainer reaches it."""
    import torch

    relative_fid = _relative_fid()
    with tempfile.TemporaryDirectory() as folder:
        loop, _ = make_tutorial_loop(folder, {})
        started = time.perf_counter()
        for seen in loop.steps():
            if seen >= TUTORIAL_IMAGES:
                break
        tutorial_s = time.perf_counter() - started
        target = relative_fid(loop.generator.eval())
    print(f"tutorial loop: {seen:,} images, {tutorial_s:.0f} s, relative FID {target:.2f}", flush=True)
    torch.set_num_threads(1)
    trainer, spent = make_trainer({}), 0.0
    while trainer.step_count < trainer.steps:
        started = time.perf_counter()
        for _ in range(200):
            trainer.step()
        spent += time.perf_counter() - started
        reached = relative_fid(trainer.calibrated_ema_generator())
        print(f"ours: {trainer.images_seen:,} images, {spent:.0f} s, relative FID {reached:.2f}", flush=True)
        if reached <= target:
            break
    else:
        sys.exit(f"not reached: after the whole budget, {trainer.images_seen:,} images, FID is above the tutorial's")
    print(f"\nthe tutorial loop's final quality in {spent:.0f} s instead of {tutorial_s:.0f} s:", end=" ")
    print(f"{tutorial_s / spent:.1f} times as fast")


def _relative_fid() -> Callable[..., float]:
    from dcgan.data.mnist import load_split
    from dcgan.evaluation.evaluate import QuickScores
    from dcgan.gan.sampling import generate, label_sequence, latents

    scores = QuickScores(load_split(RAW_DATA, "test")[0])
    labels = label_sequence(10_000, "mnist", seed=0)

    def relative_fid(generator) -> float:
        z = latents(10_000, generator.arguments["latent_size"], seed=0)
        return scores(generate(generator, z, labels), None)["relative_fid"]

    return relative_fid


def profile() -> None:
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    trainer = make_trainer({"workers": 1})
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    steps, batch = 200, trainer.settings.batch_size
    started = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    images_per_s = steps * batch / (time.perf_counter() - started)
    flops = flops_per_image(trainer)
    peak = matrix_product_rate(torch.bfloat16 if trainer.settings.precision == "bf16" else torch.float32)
    print(f"one worker: {images_per_s:,.0f} images/s, {flops / 1e6:.0f} MFLOP per image")
    print(f"            {images_per_s * flops / 1e9:.0f} GFLOP/s")
    print(f"            {peak / 1e9:.0f} GFLOP/s for a matrix product on one core")
    print(f"            {images_per_s * flops / peak:.0%} of that rate\n")
    with torch_profile(activities=[ProfilerActivity.CPU]) as result:
        for _ in range(48):
            trainer.step()
    print(result.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


def flops_per_image(trainer: "Trainer") -> float:
    """Floating-point operations of the convolutions and dense layers in a step, per real image.

    A backward pass costs one forward pass for the weights and one for the inputs. The penalty costs seven forward
    passes of the discriminator, every `r1_every` steps.
    """
    from dcgan.gan.training_outputs import summarize_networks

    forward_g, forward_d = map(forward_flops, summarize_networks(trainer).values())
    update_d = forward_g + 2 * 3 * forward_d  # real and generated images, forward and backward
    update_g = 2 * forward_g + 2 * forward_d  # no gradients for the discriminator's weights here
    return update_d + update_g + 7 * forward_d / trainer.settings.r1_every


def forward_flops(summary: "NetworkSummary") -> int:
    """Two operations for each weight at each position of its kernel; dense layers have one position."""
    flops, shape = 0, summary.input_shape
    for layer in summary.layers:
        if layer.is_linear_map:
            # A strided convolution has a position per output, a transposed one per input: the smaller of the two.
            positions = min(math.prod(shape[1:]), math.prod(layer.output[1:]))
            flops += 2 * positions * math.prod(layer.weights[0])
        shape = layer.output
    return flops


def matrix_product_rate(dtype) -> float:
    """FLOP/s of a 2,048 x 2,048 matrix product on one core, the best of ten."""
    import torch

    matrix = torch.randn(2048, 2048).to(dtype)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(times)


def growth() -> None:
    print("| change | images/s | peak memory |")
    print("|---|---|---|")
    changes: list[dict] = [{}, *({"batch_size": n} for n in (16, 32, 128, 256, 512))]
    changes += [{"generator_width": n, "discriminator_width": n} for n in (32, 128)]
    changes += [{"workers": 1}, {"precision": "fp32"}, {"conditional": False}]
    for change in changes:
        result = measure("ours", change)
        name = ", ".join(f"{key} {value}" for key, value in change.items()) or "default"
        print(f"| {name} | {result['images_per_s']:,.0f} | {result['peak_mb']:,.0f} MB |", flush=True)


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="compare", choices=["compare", "quality", "profile", "growth"])
    parser.add_argument("--measure", nargs=2, metavar=("LOOP", "CHANGES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        loop, changes = args.measure
        print(json.dumps(measure_here(loop, json.loads(changes))))
        return
    {"compare": compare, "quality": quality, "profile": profile, "growth": growth}[args.what]()


if __name__ == "__main__":
    main()
