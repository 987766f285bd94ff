"""Functions for the main thread, which lives as long as the children it starts."""

import os
import queue
import threading


class MainThread:
    """Runs functions on the main thread until it is told to stop."""

    def __init__(self):
        self._calls = queue.Queue()
        self._stopping = False

    def call(self, function):
        """From any thread: runs function on the main thread, waits, re-raises."""
        done, failure = threading.Event(), []

        def run():
            try:
                function()
            except Exception as error:  # handed to the caller, whose business it is
                failure.append(error)
            done.set()
        self._calls.put(run)
        done.wait()
        if failure:
            raise ValueError(str(failure[0]))

    def stop(self, *_signal):
        self._stopping = True

    def loop(self, parent):
        """Returns after stop(), or when our parent is no longer `parent` (0: do not look)."""
        while not self._stopping:
            try:
                self._calls.get(timeout=0.2)()
            except queue.Empty:
                if parent and os.getppid() != parent:
                    return
