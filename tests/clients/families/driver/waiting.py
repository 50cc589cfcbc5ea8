"""The one place that waits: until something can be seen, and no longer than a deadline."""

import threading
import time

_never = threading.Event()


def until(what, seen, seconds=60.0):
    """Asks `seen` until it answers something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        if found := seen():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        _never.wait(0.05)
