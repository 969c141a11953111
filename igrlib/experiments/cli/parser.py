"""The command `igr`: run the experiments, list what is done, judge it, prepare data."""

import argparse
import io
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import igrlib
from igrlib.experiments._extras import missing
from igrlib.experiments.cli import commands, listing, slurm
from igrlib.experiments.cli.console import one_line, say, to_nowhere
from igrlib.experiments.cli.faults import Mistake

__all__ = ["main"]

USER_ERROR, INTERRUPTED = 2, 130

_EXAMPLES = """examples:
  igr list                                        what there is to run, and what is missing
  igr run mlp-sweep                               the digits: minutes
  igr run mlp-sweep --profile cpu --time-limit 3600
                                                  an hour of MNIST; the same again to go on
  igr run mlp-sweep --profile cpu --unit 3        one unit, by number or name
  igr run mlp-sweep --set widths=8,16 --set num_seeds=2
                                                  a profile of your own, in a record of its own
  igr run all --profile paper --time-limit 3000   an hour of one GPU: every experiment, the most
                                                  telling units first; the same again to go on
  igr list all --profile paper                    the order of these units
  igr slurm mlp-sweep --profile paper             a script for Slurm, a task for each missing unit
  igr verdicts mlp-sweep --profile cpu            which of P1 to P4, the paper's Predictions 2.1
                                                  to 2.4, the record reproduces
  igr data prepare mnist                          fetch a data set, or check the cached one

exit status: 0 done; 2 an error that you can mend, said in one line; 75 stopped in good order
(--time-limit, SIGTERM, SIGHUP, Ctrl-C), or a GPU was lost after a checkpoint: run again to go on.
With IGR_TRACEBACK=1 errors come with a traceback."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(USER_ERROR, f"igr: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default that of the process, and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # An ASCII stream has no λ.
    status = _status(argv)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        to_nowhere(sys.stdout)
        if not isinstance(error, BrokenPipeError) and status == 0:
            say(f"igr: standard output: {one_line(error)}")
            return USER_ERROR
    return status


def _status(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse would take what follows `--` for arguments of igr.
    end = words.index("--") if words[:1] == ["slurm"] and "--" in words else len(words)
    try:
        parser, known = _parser(), argparse.Namespace(sbatch=words[end + 1 :])
        args, unknown = parser.parse_known_args(words[:end], known)
        if unknown:
            hint = "; options of sbatch come after --" if words[0] == "slurm" else ""
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return args.run(args)
    except SystemExit as done:  # argparse: --help or an error
        return done.code if isinstance(done.code, int) else USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # igr list | head
        to_nowhere(sys.stdout)
        return 0
    except (Mistake, OSError, MemoryError, ImportError) as error:
        own = isinstance(error, ImportError) and (error.name or "").startswith("igrlib")
        if own or os.environ.get("IGR_TRACEBACK") == "1":
            raise
        if isinstance(error, ModuleNotFoundError):  # The text does not say yet what to install.
            error = missing(error)
        say(f"igr: {one_line(error)}")
        return USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="igr",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"igr {igrlib.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    record = _Parser(add_help=False)
    record.add_argument(
        "--out",
        type=Path,
        default=Path("book/results"),
        metavar="DIR",
        help="folder of the records (default: %(default)s)",
    )
    record.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the profile; 1,2,3 for several values (repeatable)",
    )
    profile: dict[str, Any] = {
        "metavar": "NAME",
        "help": "a profile that igr list shows (default: digits)",
    }
    work = _Parser(add_help=False)
    work.add_argument("--profile", default="digits", **profile)
    work.add_argument(
        "--unit",
        action="append",
        metavar="N|NAME",
        help="only this unit, by its number or name in igr list (repeatable)",
    )
    work.add_argument(
        "--group",
        type=int,
        metavar="N",
        help="how many models train together on each device (default: depends on device, network)",
    )
    work.add_argument(
        "--checkpoint-every",
        type=seconds,
        default=300.0,
        metavar="S",
        help="seconds between two checkpoints (default: %(default)g)",
    )

    def command(name: str, about: str, run: Any, *parents: Any) -> Any:
        parents = (record, *parents)
        made = subparsers.add_parser(name, help=about, description=about, parents=parents)
        made.set_defaults(run=run)
        return made

    found = command(
        "list",
        "list experiments, profiles and units: their cost, what is missing",
        listing.list_units,
    )
    found.add_argument(
        "experiment",
        nargs="?",
        help="only this one; all: every experiment, in the order of igr run all",
    )
    found.add_argument("--profile", metavar="NAME", help="only this one (default: all)")
    run = command(
        "run", "run the missing units of a profile, and merge the record", commands.run, work
    )
    run.add_argument(
        "experiment", help="an experiment that igr list shows, such as mlp-sweep, or all"
    )
    run.add_argument(
        "--one-of-each",
        action="store_true",
        help="a trial run: of units that differ only in their seeds, run the first",
    )
    run.add_argument(
        "--time-limit",
        type=seconds,
        default=math.inf,
        metavar="S",
        help="stop in good order after S seconds, but not before some work is done; begin no unit"
        " that could not stop by then",
    )
    tasks = command(
        "slurm", "print a script for Slurm, a task for each missing unit", slurm.script, work
    )
    tasks.add_argument("experiment", help="an experiment that igr list shows, such as mlp-sweep")
    tasks.epilog = "What comes after -- goes to sbatch: -- --partition=gpu --time=1:00:00."
    tasks.add_argument(
        "--no-gpu", action="store_true", help="ask for no GPU (default: one per task)"
    )
    tasks.add_argument(
        "--at-once", type=number, metavar="N", help="how many tasks run at a time (default: all)"
    )
    judged = command(
        "verdicts", "which of the paper's predictions a record reproduces", commands.verdicts
    )
    judged.add_argument("experiment", nargs="?", default="mlp-sweep", help="(default: %(default)s)")
    judged.add_argument("--profile", default="digits", **profile)
    judged.add_argument("--arm", metavar="NAME", help="the arm to judge (default: the first)")
    prepare = subparsers.add_parser("data", help="prepare a data set").add_subparsers(
        required=True, metavar="prepare"
    )
    fetch = prepare.add_parser("prepare", help="fetch and cache a data set, or check the cache")
    fetch.add_argument("name", help="mnist or cifar10; the digits need no preparation")
    fetch.set_defaults(run=commands.prepare)
    return parser


def number(text: str) -> int:
    """argparse names this function where `text` is no integer."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def seconds(text: str) -> float:
    """argparse names this function where `text` is no number."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be 0 or more, and finite, got {text}")
    return value
