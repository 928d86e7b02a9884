"""This trainer beside the usual tutorial loop: images per second, memory, and what they cost as things grow.

    python benchmarks/speed.py            images per second, alternating, with medians; about 3 minutes
    python benchmarks/speed.py quality    time to the tutorial loop's final FID; about 6 minutes
    python benchmarks/speed.py profile    where a step's time goes, beside the rate of this machine's matrix product
    python benchmarks/speed.py growth     time and memory against batch size, width, workers, precision; about 4 minutes

Each measurement runs in a process of its own, so that peak memory and threads are its own. The data must be there
(`dvc repro download`).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dcgan.support.errors import exit_on_user_error

ROUNDS = 5
SECONDS = 12.0  # of each measurement
WARM_UP_STEPS = 20
TUTORIAL_IMAGES = 300_000  # five epochs
DATA = Path("data/raw")


def measure(kind: str, changes: dict) -> dict[str, float]:
    """One measurement in a fresh process: {"images_per_s", "peak_mb"}."""
    command = [sys.executable, __file__, "--one", kind, json.dumps(changes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    return json.loads(done.stdout.splitlines()[-1])


def measure_here(kind: str, changes: dict) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        advance = _tutorial(folder, changes) if kind == "tutorial" else _ours(changes)
        for _ in range(WARM_UP_STEPS):
            advance()
        started, seen = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - started) < SECONDS:
            seen += advance()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_s": seen / elapsed, "peak_mb": peak}


def _ours(changes: dict):
    trainer = make_trainer(changes)

    def advance() -> int:
        trainer.step()
        return trainer.settings.batch_size

    return advance


def _tutorial(folder: str, changes: dict):
    loop, batch_size = make_tutorial_loop(folder, changes)
    steps = loop.steps()

    def advance() -> int:
        next(steps)
        return batch_size

    return advance


def make_trainer(changes: dict):
    import torch

    from dcgan.data.mnist import load_split
    from dcgan.gan.device import keep_freed_memory, resolve_device, resolve_precision
    from dcgan.gan.trainer import Trainer
    from dcgan.params import load_params

    keep_freed_memory()
    params, device = load_params(), resolve_device()
    precision = resolve_precision(params.train.precision, device)
    model = params.model.model_copy(update={k: v for k, v in changes.items() if k in type(params.model).model_fields})
    train = params.train.model_copy(
        update={"precision": precision} | {k: v for k, v in changes.items() if k in type(params.train).model_fields}
    )
    images, labels = load_split(DATA, "train")
    return Trainer(model, train, torch.from_numpy(images), torch.from_numpy(labels), device)


def make_tutorial_loop(folder: str, changes: dict):
    from tutorial_loop import TutorialLoop

    from dcgan.params import load_params

    params = load_params()
    raw = Path(folder) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in DATA.glob("*-ubyte"):
        (raw / path.name).symlink_to(path.resolve())
    batch_size = changes.get("batch_size", params.train.batch_size)
    return TutorialLoop(params.model, batch_size, Path(folder)), batch_size


def compare() -> None:
    rates: dict[str, list[dict[str, float]]] = {"ours": [], "tutorial": []}
    for _ in range(ROUNDS):
        for kind, results in rates.items():
            results.append(measure(kind, {}))
    print("| loop | images/s, median (min to max) | peak memory |")
    print("|---|---|---|")
    for kind, results in rates.items():
        speeds = [result["images_per_s"] for result in results]
        spread = f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"
        print(f"| {kind} | {spread} | {max(result['peak_mb'] for result in results):,.0f} MB |")
    ratios = [a["images_per_s"] / b["images_per_s"] for a, b in zip(rates["ours"], rates["tutorial"], strict=True)]
    median = statistics.median(ratios)
    print(f"\nours / tutorial, pair by pair: median {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def quality() -> None:
    """FID of the tutorial loop after five epochs, and how long this trainer takes to that FID."""
    import torch

    score = _scorer()
    with tempfile.TemporaryDirectory() as folder:
        loop, _ = make_tutorial_loop(folder, {})
        started = time.perf_counter()
        for seen in loop.steps():
            if seen >= TUTORIAL_IMAGES:
                break
        tutorial_s = time.perf_counter() - started
        wanted = score(loop.generator.eval())
    print(f"tutorial loop: {seen:,} images, {tutorial_s:.0f} s, relative FID {wanted:.2f}", flush=True)
    torch.set_num_threads(1)
    trainer, spent = make_trainer({}), 0.0
    while trainer.step_count < trainer.steps:
        started = time.perf_counter()
        for _ in range(200):
            trainer.step()
        spent += time.perf_counter() - started
        reached = score(trainer.finished_generator())
        print(f"ours: {trainer.images_seen:,} images, {spent:.0f} s, relative FID {reached:.2f}", flush=True)
        if reached <= wanted:
            break
    else:
        sys.exit(f"not reached: the whole budget, {trainer.images_seen:,} images, ended above the tutorial's FID")
    times = tutorial_s / spent
    print(
        f"\nthe tutorial loop's final quality in {spent:.0f} s instead of {tutorial_s:.0f} s: {times:.1f} times as fast"
    )


def _scorer():
    from dcgan.data.mnist import load_split
    from dcgan.evaluation.evaluate import QuickScores
    from dcgan.gan.sampling import generate, label_sequence, latents

    quick = QuickScores(load_split(DATA, "test")[0])
    labels = label_sequence(10_000, "mnist", seed=0)

    def relative_fid(generator) -> float:
        z = latents(10_000, generator.arguments["latent_size"], seed=0)
        return quick(generate(generator, z, labels), None)["relative_fid"]

    return relative_fid


def profile() -> None:
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    trainer = make_trainer({"workers": 1})
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    steps, batch = 200, trainer.settings.batch_size
    started = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    images_per_s = steps * batch / (time.perf_counter() - started)
    arithmetic = step_flops(trainer) / batch
    peak = matrix_product_rate(torch.bfloat16 if trainer.settings.precision == "bf16" else torch.float32)
    print(f"one worker: {images_per_s:,.0f} images/s, {arithmetic / 1e6:.0f} MFLOP an image")
    print(f"            {images_per_s * arithmetic / 1e9:.0f} GFLOP/s")
    print(f"            {peak / 1e9:.0f} GFLOP/s: matrix product on one core")
    print(f"            {images_per_s * arithmetic / peak:.0%} of it\n")
    with record(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(48):
            trainer.step()
    print(recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


def step_flops(trainer) -> float:
    """Floating-point operations of convolutions and dense layers in a step, on average over the penalized ones.

    A backward pass costs a forward pass for the weights and one for the inputs; the penalty three backward passes.
    """
    g, d = trainer.generator, trainer.discriminator
    # positions that the kernel visits (inputs of a transposed convolution, outputs of a convolution) times weights
    visits_g = {g.dense: 1, g.up1: 16, g.up2: 49, g.up3: 196}
    visits_d = {d.down1: 196, d.down2: 49, d.down3: 16, d.dense: 1, d.logits: 1}
    forward_g, forward_d = (
        2 * sum(visits * layer.weight.numel() for layer, visits in layers.items()) for layers in (visits_g, visits_d)
    )
    update_d = forward_g + 2 * 3 * forward_d  # real and generated, forward and backward
    update_g = 2 * forward_g + 2 * forward_d  # the discriminator's weights need no gradient here
    penalty = 7 * forward_d / trainer.settings.r1_every
    return trainer.settings.batch_size * (update_d + update_g + penalty)


def matrix_product_rate(dtype) -> float:
    """FLOP/s of a 2048 x 2048 matrix product on one core, the best of ten."""
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
    parser.add_argument("--one", nargs=2, metavar=("KIND", "CHANGES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure_here(args.one[0], json.loads(args.one[1]))))
        return
    {"compare": compare, "quality": quality, "profile": profile, "growth": growth}[args.what]()


if __name__ == "__main__":
    main()
