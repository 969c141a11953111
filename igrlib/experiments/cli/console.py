"""Signals to the command line, and the lines and bars that it prints."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from igrlib.experiments._extras import needed

__all__ = ["Progress", "counted", "one_line", "say", "stop_signals", "to_nowhere"]

LINES_EVERY = 60.0  # seconds between two lines, where the output is no terminal
_GONE = (errno.EPIPE, errno.EIO)  # A pipe has lost its reader, or the terminal is closed.


def say(text: str, stream: Any = None) -> None:
    """Print a line at once, by default on standard error, whether anybody reads it or not.

    Raises `OSError` where standard output cannot be written for another reason.
    """
    stream = sys.stderr if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        to_nowhere(stream)
        if stream is sys.stdout and error.errno not in _GONE:
            raise


def counted(number: int, what: str) -> str:
    """A number of things, with their name in the singular or plural."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def one_line(error: BaseException) -> str:
    """The message of an error in one line, with the name of its file."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {' '.join(error.strerror.split())}"
    return text


def to_nowhere(stream: Any) -> None:
    """Send all later output of a stream to the null device, also at the end of the process.

    A stream without a descriptor of its own is left alone.
    """
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGTERM, SIGHUP and SIGINT as requests to stop in good order; a second SIGINT ends at once.

    Gives the list of the signals received. A thread listens, because Python's own handlers wait
    until a compiled program returns, which may take a minute.
    """
    came: list[int] = []
    listen, wake = socket.socketpair()
    wake.setblocking(False)
    old_fd = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    wanted = [signal.SIGTERM, signal.SIGINT]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none.
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup igr run
        wanted.append(hangup)
    old = {number: signal.signal(number, lambda n, _: came.append(n)) for number in wanted}
    threading.Thread(target=_watch, args=(listen,), daemon=True).start()
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        wake.close()  # Ends the thread.


def _watch(listen: socket.socket) -> None:
    interrupts = 0
    with listen:
        while numbers := listen.recv(64):
            interrupts += numbers.count(signal.SIGINT)
            if interrupts > 1:
                os._exit(128 + signal.SIGINT)
            say(
                "\nigr: stopping when the present computation is done; another Ctrl-C stops at"
                " once and loses all work since the last checkpoint"
            )


class Progress:
    """Models, model-steps per second and time left: a bar on a terminal, else a line each minute.

    Called as `igrlib.experiments.runner.run_unit` calls its `progress`. The speed leaves out what
    an earlier run of the unit has done, and the start.
    """

    def __init__(self) -> None:
        self._stream: Any = sys.stderr
        self._tqdm: Any = needed("tqdm").tqdm
        self._bar: Any = None
        self._first: tuple[int, float] | None = None
        self._last_line = 0.0

    def __call__(self, unit: Any, done: int, total: int, phase: str) -> None:
        try:
            self._show(f"{unit.name}, {counted(unit.models, 'model')}", done, total, phase)
        except OSError:  # Nobody reads the stream any more: the run goes on.
            to_nowhere(self._stream)

    def close(self) -> None:
        """Leave the terminal tidy; the next call begins another unit."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.close()
        self._bar = self._first = None

    def _show(self, what: str, done: int, total: int, phase: str) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._last_line = (done, now), now
            if self._stream.isatty():
                self._bar = self._tqdm(
                    total=total,
                    initial=done,
                    desc=what,
                    unit="step",
                    unit_scale=True,
                    file=self._stream,
                    dynamic_ncols=True,
                )
        if self._bar is not None:
            self._bar.set_postfix_str(phase, refresh=False)
            self._bar.update(done - self._bar.n)
        elif now - self._last_line >= LINES_EVERY:
            self._last_line = now
            before, began = self._first
            speed = (done - before) / (now - began)
            size, span = self._tqdm.format_sizeof, self._tqdm.format_interval
            left = f"{span((total - done) / speed)} left" if speed > 0 else "time left unknown"
            print(
                f"{what}: {100 * done // total} % of {size(total)} model-steps,"
                f" {size(speed)} per second, {left}, {phase}",
                file=self._stream,
                flush=True,
            )
