"""Child processes that do not outlive us."""

import shutil
import subprocess


def spawn(command, log):
    """Starts a child that is killed with the thread that starts it; output goes to log.

    The kernel ties the child to the calling *thread*, so call this from one that lives as
    long as the child should.
    """
    guard = [shutil.which("setpriv"), "--pdeathsig", "KILL", "--"]
    if guard[0]:
        command = guard + command
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                            close_fds=True)


def end(process, seconds=5):
    """Asks a child to stop, kills it when it does not, and reaps it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
