"""The console command `azmend`: the command line of the program, in this process."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable

from . import _azmend


def run(words: Iterable[str] | None = None) -> int:
    """Runs the command line with these words, by default those of this program. Returns the exit code."""
    if threading.current_thread() is threading.main_thread():
        # Python's handler only notes Ctrl-C, and no Python runs here: where azmend does not listen itself it must end the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _azmend.command_line(["azmend", *(sys.argv[1:] if words is None else words)])


def main() -> None:
    """The entry point of the console command."""
    sys.exit(run())
