"""Fixtures of the deployment's tests: the manifests as kustomize makes them, a control plane, the image."""
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEPLOY = ROOT / "deploy/daemonset"
sys.path[:0] = [str(HERE), str(ROOT / "tests/support"), str(ROOT / "tests/e2e")]

from kube import bed as kube  # noqa: E402

OVERLAYS = ("plain", "openshift")


def kubectl_program():
    path = kube.program_folder() / "kubectl"
    if not os.access(path, os.X_OK):
        pytest.skip(f"needs kubectl (tests/support/kube/build.sh OUT kubectl), looked in {kube.program_folder()}")
    return path


def run_kubectl(*words, kubeconfig=None, check=True, **options):
    environment = dict(os.environ, KUBECONFIG=str(kubeconfig or "/dev/null"), KUBECACHEDIR="/nonexistent")
    done = subprocess.run([str(kubectl_program()), *map(str, words)], capture_output=True, text=True, check=False,
                          env=environment, **options)
    if check:
        assert done.returncode == 0, f"kubectl {' '.join(map(str, words))}:\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def overlays():
    """Overlay -> its objects."""
    return {name: [item for item in yaml.safe_load_all(run_kubectl("kustomize", DEPLOY / "overlays" / name).stdout) if item]
            for name in OVERLAYS}


@pytest.fixture(scope="module")
def bed():
    reason = kube.missing()
    if reason:
        pytest.skip(reason)
    # OpenShift's rule for owner references, so that what it needs is asked for everywhere.
    with kube.KubeBed(["--enable-admission-plugins=OwnerReferencesPermissionEnforcement"]) as made:
        yield made
