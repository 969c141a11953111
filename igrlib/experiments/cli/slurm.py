"""What `igr slurm` prints: a script for Slurm with one task for each missing unit.

A task runs `igr run` for its unit and heeds its exit status; nothing here trains.
"""

import argparse
import re
import shlex
import shutil
import sys
from collections.abc import Sequence

from igrlib.experiments.cli.commands import ALL, units_named, wanted
from igrlib.experiments.cli.console import say
from igrlib.experiments.cli.faults import Mistake, mistakes

__all__ = ["script"]

_NOTICE = 120
"""Seconds before its time is over at which a task is told to stop."""

_OWN = ("--array", "--signal", "--requeue", "--no-requeue", "--open-mode")
"""Options of sbatch that a task depends on."""

_TASK = r"""
unit=${units[SLURM_ARRAY_TASK_ID]:?there is no such task: give this script to sbatch}
checkpoint=$folder/checkpoints/$unit.npz
# A GPU that JAX cannot use is an error, and not a reason to take the CPU.
export JAX_PLATFORMS=${JAX_PLATFORMS:-$platform}
# Compiled programs lie on the disk of the node, in a folder that is nobody else's.
cache=${TMPDIR:-/tmp}/igr-jax-cache-$UID
if [ -z "$JAX_COMPILATION_CACHE_DIR" ] && mkdir -p -m 700 "$cache" && [ -O "$cache" ]; then
  export JAX_COMPILATION_CACHE_DIR=$cache
fi

progress() { stat -c '%i %y' "$checkpoint" 2>/dev/null; }
before=$(progress)
"${run[@]}" --unit "$unit" &
trap 'told=1; kill -TERM $!' TERM
# A signal ends a wait; the unit goes on until its checkpoint is written.
while told=; wait $!; status=$?; [ "$told" ]; do :; done

why=
# XLA may abort (134) where a GPU is lost.
if [ "$status" -eq 75 ] || [ "$status" -eq 134 ]; then
  task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  if [ "$(progress)" = "$before" ]; then
    # Requeued, that would go on for ever.
    why="before it made progress: give it more time, or another node if a GPU was lost"
  elif [ "$(squeue --noheader --format=%T --jobs="$task")" != RUNNING ]; then
    why="with its task, which is cancelled"
  elif ! scontrol requeue "$task"; then
    why="and Slurm does not requeue it"
  fi
elif [ "$status" -gt 128 ]; then
  why="by signal $((status - 128)), perhaps for want of memory"
fi
[ -z "$why" ] || echo "igr: $unit was stopped $why; a new script of igr slurm goes on with it" >&2
exit "$status"
"""


def script(args: argparse.Namespace) -> int:
    """Print the script for the units that are missing; 0, also where there is none."""
    from igrlib.experiments.profiles import EXPERIMENTS

    if args.experiment == ALL:
        names = ", ".join(EXPERIMENTS)
        raise Mistake(f"igr slurm takes one experiment, got all: run it for each of {names}")
    for word in args.sbatch:
        _check_option(word)
    _check_time(args.sbatch)
    with mistakes():
        folder, units = units_named(args.experiment, args.profile, args.set, args.out.absolute())
        missing = folder.missing(wanted(units, args.unit))
    if not missing:
        say(f"igr: {folder.profile}: no unit is missing, there is nothing to submit")
        return 0
    if shutil.which("sbatch") is None:
        say("igr: sbatch was not found here: submit this script on a machine that has it")
    numbers = {units.index(unit) + 1: unit.name for unit in missing}
    at_once = f"%{args.at_once}" if args.at_once else ""
    lines = [
        f"--job-name={_quoted(folder.path.name)} --array={','.join(map(str, numbers))}{at_once}",
        "" if args.no_gpu else "--gres=gpu:1",
        f"--signal=B:TERM@{_NOTICE} --requeue --open-mode=append",
        " ".join(map(_quoted, args.sbatch)),
    ]
    run = [sys.executable, "-m", "igrlib", "run", args.experiment, "--profile", args.profile]
    run += ["--out", str(folder.out), "--checkpoint-every", f"{args.checkpoint_every:g}"]
    run += [word for setting in args.set for word in ("--set", setting)]
    run += [] if args.group is None else ["--group", str(args.group)]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {line}" for line in lines if line),
        f"units=({' '.join(f'[{n}]={shlex.quote(name)}' for n, name in numbers.items())})",
        f"folder={shlex.quote(str(folder.path))}",
        f"run=({shlex.join(run)})",
        f"platform={'cpu' if args.no_gpu else 'cuda'}",
    ]
    print("\n".join(lines) + _TASK, end="")
    return 0


def _check_option(word: str) -> None:
    """Refuse a word that would override an option of igr, and one of several lines."""
    name = word.partition("=")[0]
    # sbatch takes the beginning of a name for the whole.
    own = next((own for own in _OWN if len(name) > 2 and own.startswith(name)), None)
    if own or word.startswith("-a"):
        raise Mistake(
            f"{word} cannot be passed to sbatch: igr slurm sets {own or '--array'} itself, leave it"
            " out; --unit chooses the units, --at-once how many run at a time"
        )
    if "\n" in word:
        raise Mistake(f"an option of sbatch must be one line, got {word!r}")


def _check_time(words: Sequence[str]) -> None:
    """Refuse a time in which a task would be told to stop before it begins."""
    for word, after in zip(words, [*words, ""][1:], strict=True):
        if found := re.fullmatch(r"(?:--time|-t)=?(.*)", word):
            text = found[1] or after
            if 0 < _seconds(text) <= _NOTICE:
                raise Mistake(
                    f"a task is told to stop {_NOTICE} seconds before its time is over, so --time"
                    f" must be longer, got {text}; --time=10 is ten minutes"
                )


def _seconds(text: str) -> int:
    """A time as sbatch reads it; 0 for none, and for what sbatch will refuse itself."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in (days or "0", *parts)):
        return 0
    units = (3600, 60, 1) if days or len(parts) == 3 else (60, 1)
    return 86_400 * int(days or 0) + sum(
        unit * int(part) for unit, part in zip(units, parts, strict=False)
    )


def _quoted(word: str) -> str:
    """A word as sbatch reads it in a script, where a backslash escapes in any quotes."""
    if re.fullmatch(r"[\w@%+=:,./-]+", word):
        return word
    escaped = re.sub(r'(["\\])', r"\\\1", word)
    return f'"{escaped}"'
