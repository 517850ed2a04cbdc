"""Processes that end with the one that started them, however that one ends.

A SIGKILL, or a notebook's kernel that is shut down, leaves no time to tell one's children.
"""

import functools
import os
import threading
import time

import psutil

VARIABLE = "EMOLIB_STARTED_BY"  # process number, for those that are not started directly


@functools.cache
def tie(pid: int) -> None:
    """From now on this process ends when process `pid` has ended: within a second, with exit code
    1."""
    threading.Thread(target=_watch, args=(pid,), daemon=True).start()


def _watch(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    except psutil.NoSuchProcess:
        pass
    os._exit(1)  # at once: what is written half goes away with the next writer
