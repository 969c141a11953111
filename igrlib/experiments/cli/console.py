"""What the command line hears and says: signals, lines, and how far a run is."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from igrlib.experiments._extras import needed

__all__ = ["Progress", "StopSignals", "say", "to_nowhere"]

LINES_EVERY = 60.0  # seconds between two lines, where the output is no terminal


_GONE = (errno.EPIPE, errno.EIO)  # The reader of a pipe, or a terminal, is there no more.


def say(text: str, stream: Any = None) -> None:
    """Print a line at once, by default on standard error; where nobody reads it, go on without.

    Raises `OSError` where standard output cannot be written for another reason.
    """
    stream = sys.stderr if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        to_nowhere(stream)
        if stream is sys.stdout and error.errno not in _GONE:
            raise


def to_nowhere(stream: Any) -> None:
    """Let what is still written on a stream, at the end of the process too, go to the null device.

    A stream without a descriptor of its own is left alone.
    """
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class StopSignals:
    """SIGTERM, SIGHUP and SIGINT as a wish to stop in good order; a second SIGINT ends at once.

    A context manager; `received` says whether one has come. A thread listens, because Python's own
    handlers wait until a compiled program returns, which may take a minute.
    """

    received: bool

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> "StopSignals":
        self._listen, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        wanted = [signal.SIGTERM, signal.SIGINT]
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none.
        if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # nohup igr run
            wanted.append(hangup)
        self._old = {number: signal.signal(number, self._handle) for number in wanted}
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._wake.close()  # Ends the thread.

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def _watch(self) -> None:
        interrupts = 0
        with self._listen:
            while numbers := self._listen.recv(64):
                self.received = True
                interrupts += numbers.count(signal.SIGINT)
                if interrupts > 1:
                    os._exit(128 + signal.SIGINT)
                say(
                    "\nigr: stopping when what is being computed is done; another Ctrl-C stops at"
                    " once and loses what came after the last checkpoint"
                )


class Progress:
    """Models, model-steps a second and time left: a bar on a terminal, else a line now and then.

    Called as `igrlib.experiments.runner.run_unit` calls its `progress`. What a run that goes on had
    done before, and the time it takes to start, do not count for the speed.
    """

    def __init__(self, what: str, stream: Any = None, every: float = LINES_EVERY) -> None:
        self._what, self._every, self._bar = what, every, None
        self._stream: Any = sys.stderr if stream is None else stream
        self._tqdm: Any = needed("tqdm").tqdm
        self._first: tuple[int, float] | None = None
        self._last_line = 0.0

    def __call__(self, unit: object, done: int, total: int, phase: str) -> None:
        try:
            self._show(done, total, phase)
        except OSError:  # Nobody sees it any more: that must not end the run.
            to_nowhere(self._stream)

    def close(self) -> None:
        """Leave the terminal tidy."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.close()

    def _show(self, done: int, total: int, phase: str) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._last_line = (done, now), now
            if self._stream.isatty():
                self._bar = self._tqdm(
                    total=total,
                    initial=done,
                    desc=self._what,
                    unit="step",
                    unit_scale=True,
                    file=self._stream,
                    dynamic_ncols=True,
                )
        if self._bar is not None:
            self._bar.set_postfix_str(phase, refresh=False)
            self._bar.update(done - self._bar.n)
        elif now - self._last_line >= self._every:
            self._last_line = now
            print(self._line(done, total, phase, now), file=self._stream, flush=True)

    def _line(self, done: int, total: int, phase: str, now: float) -> str:
        before, began = self._first or (0, now)
        speed = (done - before) / max(now - began, 1e-9)
        size, span = self._tqdm.format_sizeof, self._tqdm.format_interval
        left = f"{span((total - done) / speed)} left" if speed > 0 else "time left unknown"
        return (
            f"{self._what}: {100 * done // max(total, 1)} % of {size(total)} model-steps,"
            f" {size(speed)} a second, {left}, {phase}"
        )
