"""What an oVirt engine must look like after an import, however the import ended."""


def closings(transfer):
    """The calls that ended a transfer: each must be ended once, by us unless the engine or a test did."""
    return [each for each in transfer["calls"] if each["call"] in ("finalize", "cancel")]


def ended_by_others(transfer):
    return bool({"cancelled_system", "cancelled_user"} & set(transfer["phases"])) and not closings(transfer)


def is_open(transfer):
    return not transfer["phase"].startswith(("finished", "cancelled"))


def all_closed(scene, engine):
    """Every transfer was ended exactly once, every disk is free, and nothing is asked for any more."""
    def closed():
        state = engine.state()
        return (not any(is_open(each) for each in state["transfers"])
                and all(disk["status"] == "ok" for disk in state["disks"].values()))
    scene.ferry.wait_for(closed, 30, "the end of the transfers")
    for transfer in engine.state()["transfers"]:
        assert len(closings(transfer)) == (0 if ended_by_others(transfer) else 1), transfer["calls"]


def nothing_left(scene):
    """Neither claim nor file nor VM on the target."""
    scene.ferry.wait_for(lambda: scene.ferry.list("claims") == [], 30, "the claims' end")
    scene.ferry.wait_for(lambda: scene.ferry.remains() == [], 30, "the end of the target's files")
    assert scene.ferry.list("vms") == []


def runs_again(scene, engine, name):
    scene.ferry.wait_for(lambda: engine.power(name) in ("up", "powering_up", "wait_for_launch"), 30,
                         "the source's power")


def failed(scene, engine, name, *words, timeout=120):
    """Failed with these words; nothing is left at either end."""
    condition = scene.ferry.wait_condition(name, "Succeeded", "False", timeout=timeout)
    for word in words:
        assert word in condition["message"], condition["message"]
    all_closed(scene, engine)
    nothing_left(scene)
    return condition


def requests(engine, method, part):
    return [each for each in engine.state()["requests"] if each["method"] == method and part in each["path"]]


def events(scene):
    return scene.ferry.run("get", "events", "-o", "json")
