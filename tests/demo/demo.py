#!/usr/bin/env python3
"""The demo: `./dev demo`. Virtual machines of a vCenter and an oVirt engine become verified disks and manifests.

Everything is real except the hypervisors' hardware: the vCenter is the vcsim simulator, the engine a test engine with
the ovirt-imageio daemon where that is installed. One agent is killed on the way. Nothing is left behind unless --keep.
"""
import argparse
import contextlib
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import bed
import peers
import world

AGENTS = 3
LIMIT = "14M"  # per agent and second: slow enough to watch
KILL_AFTER = 0.3  # of the bytes


class Interrupted(Exception):
    pass


def say(text=""):
    print(text, flush=True)


def heading(text):
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold}== {text}{plain}")


def size(count):
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


class Watch:
    """`vmferry watch` in the foreground, on our terminal."""

    def __init__(self, ferry):
        self.child = subprocess.Popen([str(ferry.program), "--home", str(ferry.home), "watch"], stderr=subprocess.PIPE)

    def wait(self, until, timeout):
        """Until it ends by itself (True) or until() is true (False)."""
        deadline = time.monotonic() + timeout
        while self.child.poll() is None:
            if until() or time.monotonic() > deadline:
                self.end()
                return False
            time.sleep(0.1)
        say(self.child.stderr.read().decode().rstrip())
        return True

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.child.stderr.close()  # all it says when we end it is that it was ended


def victim(ferry):
    """An agent whose disk is well under way, so that the takeover can resume it; None: not yet."""
    transfers = ferry.transfers()
    total = sum(each["status"]["toMoveBytes"] for each in transfers)
    moved = sum(each["status"]["movedBytes"] for each in transfers)
    if total == 0 or moved < KILL_AFTER * total:
        return None
    running = [each for each in transfers if each["state"].lower() == "running" and each["agent"]
               and 0.15 < each["status"]["movedBytes"] / max(1, each["status"]["toMoveBytes"]) < 0.8]
    running.sort(key=lambda each: each["status"]["movedBytes"])
    return running[-1]["agent"] if running else None


def kill_one(ferry, agent):
    held = [f"{each['import'].split('/')[-1]} / {each['disk']}" for each in ferry.transfers()
            if each["agent"] == agent and each["state"].lower() in ("running", "assigned")]
    pid = ferry.kill9(agent)
    say(f"\n>>> kill -9 {pid}: {agent} is dead, in the middle of {', '.join(held) or 'nothing'}")
    say(">>> the other agents take over; what is on the targets already is not copied again\n")
    return agent, held


def run_imports(ferry, killed):
    """Watches until all have ended; kills one agent on the way."""
    chosen = []

    def ready():
        agent = victim(ferry)
        if agent:
            chosen.append(agent)
        return bool(agent)
    watch = Watch(ferry)
    try:
        ended = watch.wait(ready, 240)
        if not ended and chosen:
            killed.append(kill_one(ferry, chosen[0]))
            watch = Watch(ferry)
            watch.wait(lambda: False, 240)
    finally:
        watch.end()


def disk_row(ferry, name, disk, source):
    """One line of the table, and whether the disk is right."""
    verdict = "identical to its source"
    good = bool(disk.get("verified"))
    try:
        peers.compare_image(ferry.claim_path(disk["claim"]), source)
    except (AssertionError, OSError) as error:
        verdict, good = f"WRONG: {error}", False
    if not disk.get("verified"):
        verdict += ", NOT verified by VMFerry"
    resumed = disk.get("resumedBytes", 0)
    note = f", attempt {disk['attempt']}, {size(resumed)} resumed" if disk.get("attempt", 1) > 1 else ""
    say(f"  {name:<10} {disk.get('name', '?'):<14} {size(disk.get('virtualBytes', 0)):>11} {disk.get('node', '-'):<8} "
        f"{disk.get('digest', '-')}  {verdict}{note}")
    return good


def summary(ferry, sources, seconds, killed, keep):
    """Prints the table; (imports succeeded, disks verified)."""
    heading("summary")
    succeeded = verified = virtual = moved = 0
    for name, images in sources.items():
        found = ferry.get("imports", name) or {}
        status = found.get("status", {})
        condition = next((each for each in status.get("conditions", []) if each["type"] == "Succeeded"), None)
        disks = status.get("disks", [])
        if condition and condition["status"] == "True" and len(disks) == len(images):
            succeeded += 1
        else:
            say(f"  {name}: {condition or status.get('conditions')}")
        for disk, image in zip(disks, images):
            verified += disk_row(ferry, name, disk, image)
            virtual += disk.get("virtualBytes", 0)
            moved += disk.get("movedBytes", 0)
    say()
    say(f"  {succeeded} VMs, {sum(map(len, sources.values()))} disks, {size(virtual)} on the targets, {size(moved)} moved in "
        f"{seconds:.0f} s ({size(moved / seconds)}/s, {AGENTS} agents limited to {LIMIT} each)")
    for agent, held in killed:
        say(f"  {agent} was killed with SIGKILL while it copied {', '.join(held) or 'nothing'}")
    for path in sorted((ferry.home / "volumes").rglob("*.yaml")):
        say(f"  manifest {path}")
    if not keep:
        say("  all of this is removed now; ./dev demo --keep keeps it")
    return succeeded, verified


def demo(directory, stack, keep):
    heading("a vCenter, an oVirt engine and an NBD server")
    images = peers.make_images(peers.ROOT / "build/images-demo", world.SCALE, world.IMAGES)
    made = stack.enter_context(world.World(directory, images))
    for line in made.story():
        say("  " + line)

    heading(f"vmferry up --agents {AGENTS} --limit {LIMIT}")
    ferry = bed.Vmferry(directory / "home")
    stack.callback(ferry.down)
    ferry.up(AGENTS, LIMIT, *made.up_options())
    say("  " + ferry.run("get", "agents").replace("\n", "\n  ").rstrip())

    heading("vmferry apply")
    for path in made.write_manifests(directory / "manifests"):
        for line in ferry.run("apply", "-f", path).splitlines():
            say(f"  {path.name:<22} {line}")
    started = time.monotonic()

    heading("vmferry watch")
    killed = []
    run_imports(ferry, killed)
    seconds = time.monotonic() - started

    succeeded, verified = summary(ferry, made.sources, seconds, killed, keep)
    left = made.left_behind()
    for line in left:
        say(f"  LEFT BEHIND at the source: {line}")
    if not killed:
        say("  no agent was killed: the copies were over too soon")
    return succeeded, verified, made.sources, not left and bool(killed)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(_signal, _frame):
    for number in SIGNALS:  # once: what follows is the cleaning up
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave disks, manifests and logs where they are")
    options = parser.parse_args()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    base = peers.ROOT / "build"
    base.mkdir(exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="demo-", dir=base))
    code, last = 1, None
    try:
        with contextlib.ExitStack() as stack:
            succeeded, verified, sources, clean = demo(directory, stack, options.keep)
            disks = sum(map(len, sources.values()))
            last = f"demo: {succeeded} of {len(sources)} imports succeeded, {verified} of {disks} disks verified"
            code = 0 if (succeeded, verified) == (len(sources), disks) and clean else 1
    except Interrupted:
        last, code = "demo: interrupted", 130
    except (peers.Missing, bed.CommandFailed, RuntimeError, AssertionError) as error:
        last, code = f"demo: failed: {error}", 1
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if options.keep or code == 1:
            say(f"\nkept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    say(last)
    return code


if __name__ == "__main__":
    sys.exit(main())
