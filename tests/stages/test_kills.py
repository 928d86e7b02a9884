"""kill -9 of every kind of process at random moments: nothing is lost, nothing doubled, nothing differs."""

import os
import random
import secrets
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from faults import KINDS, Faults

KILLS = int(os.environ.get("DCGAN_KILLS", 200))  # at least
KILLS_AN_EPISODE = 5  # about; the pipeline then runs to its end
AT_ONCE = 2


def run_episode(faults: Faults, folder: Path, seed: str, first: str) -> tuple[Counter, int, dict]:
    """Kill some processes of a pipeline, the first one of the kind `first`; returns kills, repairs and damage."""
    rng = random.Random(seed)
    episode = faults.start(folder, first, rng)
    episode.kill(first)
    while sum(episode.kills.values()) < KILLS_AN_EPISODE:
        episode.kill(rng.choice(episode.possible()))
    try:
        episode.finish()
        damage = asdict(episode.damage())
    except AssertionError as error:
        damage = {"notes": [str(error)]}
    if not any(damage.values()):
        shutil.rmtree(folder)
    return episode.kills, episode.repairs, damage


@pytest.mark.faults
def test_kills_at_random_moments_lose_nothing(tmp_path, mnist_dir):
    seed = os.environ.get("DCGAN_KILLS_SEED", secrets.token_hex(4))
    print(f"\nkills at random moments; to repeat them: DCGAN_KILLS_SEED={seed} DCGAN_KILLS={KILLS} make test-faults")
    faults = Faults.prepare(tmp_path, mnist_dir)
    kinds, kills, totals, notes = list(KINDS), Counter(), Counter(), []

    def one(index: int) -> tuple[Counter, int, dict]:
        return run_episode(faults, tmp_path / str(index), f"{seed} {index}", kinds[index % len(kinds)])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for index, (killed, repairs, damage) in enumerate(pool.map(one, range(-(-KILLS // KILLS_AN_EPISODE)))):
            kills += killed
            notes += [f"episode {index}: {note}" for note in damage.pop("notes")]
            totals.update(damage, rwlock_files_removed=repairs)
    print(f"{kills.total()} kills: {dict(kills)}; {dict(totals)}", *notes, sep="\n")
    assert notes == []
    assert kills.total() >= KILLS
