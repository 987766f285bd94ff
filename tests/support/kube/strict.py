"""What a Recorder wrote down, decoded strictly with the Go types that Kubernetes, KubeVirt and CDI publish."""
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
PLACE = re.compile(r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<ns>[^/]+))?"
                   r"/(?P<resource>[^/?]+)(?:/(?P<name>[^/?]+))?(?:/(?P<sub>[^/?]+))?")
KINDS = {"pods": "Pod", "persistentvolumeclaims": "PersistentVolumeClaim", "configmaps": "ConfigMap", "secrets": "Secret",
         "events": "Event", "leases": "Lease", "virtualmachines": "VirtualMachine", "datavolumes": "DataVolume",
         "tokenreviews": "TokenReview", "subjectaccessreviews": "SubjectAccessReview"}
# Not published as Go types of today: the API server tells what of them it does not know, as a warning.
OURS = ("v2v.kubevirt.io",)


def program():
    return pathlib.Path(os.environ.get("VMFERRY_STRICT_DECODE") or ROOT / "build/strict-decode")


def missing():
    return "" if os.access(program(), os.X_OK) else f"needs {program()} (./dev setup)"


def document_of(write):
    """The write as an object of its kind, a patch as a part of one; None: of our own kinds, or nothing was sent."""
    if write["body"] is None:
        return None
    place = PLACE.match(write["path"])
    if place["group"] in OURS and write["method"] != "DELETE":
        return None
    version = f"{place['group']}/{place['version']}" if place["group"] else place["version"]
    if write["method"] == "DELETE":
        return {"apiVersion": "v1", "kind": "DeleteOptions", **write["body"]}
    kind = KINDS.get(place["resource"], place["resource"])  # strict-decode says that it does not know such a kind
    document = dict(write["body"])
    if write["method"] == "POST":
        document.setdefault("apiVersion", version)
        document.setdefault("kind", kind)
    else:
        document = {"apiVersion": version, "kind": kind, **document}
    return document


def faults_of(recorder):
    """What is wrong with the writes, in words; nothing when all is well."""
    documents = {json.dumps(document, sort_keys=True): (write, document)
                 for write in list(recorder.writes) if (document := document_of(write)) is not None}
    done = subprocess.run([str(program())], input="\n".join(documents), text=True, capture_output=True, check=False)
    verdicts = re.split(r"\n(?=ok |bad )", done.stdout.strip()) if documents else []  # several lines when several are wrong
    found = list(recorder.faults) + [f"the API server warns: {text}" for text in sorted(set(recorder.warnings))]
    if len(verdicts) != len(documents):
        return found + [f"strict-decode answered {len(verdicts)} of {len(documents)}: {done.stderr}"]
    for verdict, (write, _) in zip(verdicts, documents.values()):
        if not verdict.startswith("ok "):
            found.append(f"{write['method']} {write['path']}: {verdict}: {json.dumps(write['body'])[:400]}")
    return found


def kinds_of(recorder):
    """{(method, kind)}; pods by what they are for."""
    found = set()
    for write in recorder.writes:
        place = PLACE.match(write["path"])
        kind = KINDS.get(place["resource"], place["resource"])
        if kind == "Pod" and write["method"] == "POST":
            kind += "/" + write["body"]["metadata"].get("labels", {}).get("vmferry.io/holder", "")
        found.add((write["method"], kind))
    return found
