"""A step of the workflow: the scores of a pull request against the baseline of its target branch.

Usage: python .github/scripts/check_target_branch.py origin/main

The exit code is that of `dcgan check HEAD --rev TARGET`, with one exception. Scores of, say, another training budget
cannot be compared with the target's baseline. They pass with a warning if the pull request brings a new baseline, and
its scores are fine by that one. All else fails: an unknown branch, unreadable scores, an error of Git, a crash.
"""

import json
import subprocess
import sys

BASELINE = "metrics/baseline.json"
EXIT_CODES = {"fine": 0, "REGRESSION": 1, "not comparable": 2, "error": 2}  # of `dcgan check`, by its verdict


def main(target: str) -> int:
    verdict = verdict_against(target)
    if verdict != "not comparable":
        return EXIT_CODES[verdict]
    if not brings_new_baseline(target):
        print(f"::error::not comparable with {target}, and {BASELINE} is not new: measure one with `dcgan baseline`")
        return 2
    if verdict_against("HEAD") != "fine":
        print(f"::error::not comparable with {target}, and the scores are not fine by the new {BASELINE} either")
        return 2
    print(f"::warning::not comparable with {target}, but there is a new baseline: compare the two in review")
    return 0


def verdict_against(revision: str) -> str:
    """The verdict of `dcgan check` on the committed scores, whose report goes to stderr and to the job summary."""
    command = [sys.executable, "-m", "dcgan.cli", "check", "HEAD", "--rev", revision, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    try:
        verdict = json.loads(done.stdout)["verdict"]
    except (ValueError, TypeError, KeyError):  # it crashed before it printed one
        return "error"
    return verdict if EXIT_CODES.get(verdict) == done.returncode else "error"


def brings_new_baseline(target: str) -> bool:
    """Whether the baseline was added or changed since the branches parted; not if it was deleted."""
    base = git("merge-base", target, "HEAD").stdout.strip()
    return git("diff", "--quiet", "--diff-filter=AM", base, "HEAD", "--", BASELINE, allowed=(0, 1)).returncode == 1


def git(*arguments: str, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """Run Git; end the step if the exit code is not among the allowed ones."""
    done = subprocess.run(["git", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode not in allowed:
        print(f"::error::`git {' '.join(arguments)}` ended with {done.returncode}, see its message above")
        sys.exit(2)
    return done


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} TARGET")
    sys.exit(main(sys.argv[1]))
