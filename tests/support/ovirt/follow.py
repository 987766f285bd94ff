"""`follow=a.b,c`: replaces links and references by what they point at."""

import codec

KNOWN = frozenset("""
    disk_attachments disk nics vnic_profile vnic_profiles network reported_devices cdroms watchdogs
    graphics_consoles host_devices snapshots tags cluster template host quota instance_type
    data_center storage_domains disk_snapshots vm quotas original_template cpu_profile
""".split())


class UnknownName(ValueError):
    """A follow path naming nothing the engine knows."""


def apply(root, paths, fetch, is_collection, strict):
    """Inlines along each dotted path.

    fetch takes an href and returns its Element, or None when the object is gone. With
    strict, an unknown name raises UnknownName; otherwise it is ignored. The <link> of an
    inlined collection stays in place, as real engines leave it.
    """
    for path in filter(None, (part.strip() for part in paths.split(","))):
        names = path.split(".")
        unknown = [name for name in names if name not in KNOWN]
        if unknown and strict:
            raise UnknownName(unknown[0])
        if not unknown:
            for entity in list(root) if is_collection else [root]:
                _inline(entity, names, fetch)


def _inline(entity, names, fetch):
    name, rest = names[0], names[1:]
    present = entity.find(name)
    if present is None:
        for link in entity.findall("link"):
            if link.get("rel") == name.replace("_", ""):
                present = fetch(link.get("href"))
                if present is not None:
                    entity.append(present)
                break
    elif present.get("href") and len(present) == 0:
        present = _replace(entity, present, fetch)
    elif present.tag in codec.COLLECTIONS:
        for member in list(present):
            if member.get("href") and len(member) == 0:
                _replace(present, member, fetch)
    if present is None or not rest:
        return
    # A collection holds its members; a reference is the one object itself.
    members = list(present) if present.get("id") is None else [present]
    for member in members:
        _inline(member, rest, fetch)


def _replace(parent, reference, fetch):
    """Puts the whole object where only its id and href were."""
    full = fetch(reference.get("href"))
    if full is None:
        return reference
    full.tag = reference.tag
    index = list(parent).index(reference)
    parent.remove(reference)
    parent.insert(index, full)
    return full
