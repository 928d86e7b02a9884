"""kill -9 of every kind of process at random moments: nothing is lost, nothing doubled, nothing differs."""

import os
import random
import secrets
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults import KINDS, Damage, Faults

KILLS = int(os.environ.get("DCGAN_KILLS", 200))  # at least
KILLS_OF_A_KIND = 3  # tries in a clone; then one of any kind, and then the pipeline runs to its end
AT_ONCE = 2


def run_episode(faults: Faults, folder: Path, seed: str, kind: str) -> tuple[Counter, Damage]:
    """Kill processes of one kind, then one of any kind, and run the pipeline to its end; returns kills and damage."""
    rng = random.Random(seed)
    episode = faults.start(folder, kind, rng)
    for _ in range(KILLS_OF_A_KIND):
        if kind in episode.possible():
            episode.kill(kind)
    episode.kill(rng.choice(episode.possible()))
    try:
        episode.finish()
        damage = episode.damage()
    except AssertionError as error:
        damage = Damage(notes=[str(error)])
    if not damage.notes:
        shutil.rmtree(folder)
    return episode.kills, damage


@pytest.mark.faults
def test_kills_at_random_moments_lose_nothing(tmp_path, mnist_dir):
    seed = os.environ.get("DCGAN_KILLS_SEED", secrets.token_hex(4))
    print(f"\nkills at random moments; to repeat them: DCGAN_KILLS_SEED={seed} DCGAN_KILLS={KILLS} make test-faults")
    faults = Faults.prepare(tmp_path, mnist_dir)
    kills, total, rounds = Counter(), Damage(), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while kills.total() < KILLS:
            rounds += 1
            names = [f"{rounds}-{kind}" for kind in KINDS]
            jobs = [pool.submit(run_episode, faults, tmp_path / n, f"{seed} {n}", n.split("-")[1]) for n in names]
            for name, job in zip(names, jobs, strict=True):
                killed, damage = job.result()
                kills += killed
                total += damage
                print(name, dict(killed), *damage.notes, sep="\n  ", flush=True)
    print(f"{kills.total()} kills: {dict(kills)}; {total}")
    assert total == Damage()
    assert set(kills) == set(KINDS)
