"""What agents and movers tell of the jobs that they held, and that nobody else held one meanwhile."""
import json

MESSAGES = ("job started", "job done", "job failed", "job cancelled")


def told_by_agents(world, ferry, uid):
    """What was said of an import's jobs: [(time, message, job, attempt)]."""
    found = []
    for log in [*ferry.directory.glob("agent-*.log"), *world.movers.logs]:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{") and uid in line:
                told = json.loads(line)
                if told["message"] in MESSAGES:
                    found.append((told["time"], told["message"], told["job"], told["attempt"]))
    return sorted(found)


def check_transfers(world, ferry, uid, attempts=1):
    """No job was held twice at once, no attempt was begun twice, nobody copies still, and no disk was begun more than
    `attempts` times. Answers the jobs. For agents that were not killed: those tell no end."""
    holding, begun = {}, set()
    told = told_by_agents(world, ferry, uid)
    for _, message, job, attempt in told:
        if message == "job started":
            assert job not in holding, f"{job} is held twice: {told}"
            assert (job, attempt) not in begun, f"attempt {attempt} of {job} was begun twice: {told}"
            begun.add((job, attempt))
            holding[job] = attempt
        else:
            assert holding.pop(job, attempt) == attempt, told
    assert not holding, f"still copied: {holding}"
    jobs = {job for job, _ in begun}
    for job in jobs:
        assert len([its for its, _ in begun if its == job]) <= attempts, told
    return jobs
