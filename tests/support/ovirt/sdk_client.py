"""Runs in the venv: the official SDK downloads one disk. A client nobody here wrote.

    sdk_client.py URL CA USER PASSWORD_FILE VM_NAME OUT

Writes the first disk's bytes to OUT and prints what it saw as JSON.
"""

import json
import ssl
import sys
import time
import urllib.parse
from http.client import HTTPSConnection

import ovirtsdk4
from ovirtsdk4 import types

WAIT_SECONDS = 30


def await_that(condition, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("gave up waiting for " + what)
        time.sleep(0.1)


def download(system, disk, ca, out):
    """Transfers a disk to a file through its extents' total size; returns the phases seen."""
    transfers = system.image_transfers_service()
    made = transfers.add(types.ImageTransfer(
        disk=types.Disk(id=disk.id), direction=types.ImageTransferDirection.DOWNLOAD,
        format=types.DiskFormat.RAW, timeout_policy=types.ImageTransferTimeoutPolicy.CANCEL,
        inactivity_timeout=60))
    service = transfers.image_transfer_service(made.id)
    await_that(lambda: service.get().phase == types.ImageTransferPhase.TRANSFERRING, "the ticket")
    first_url = service.get().transfer_url
    service.extend()
    service.pause()
    await_that(lambda: service.get().phase == types.ImageTransferPhase.PAUSED_USER, "the pause")
    service.resume()
    await_that(lambda: service.get().phase == types.ImageTransferPhase.TRANSFERRING, "the resume")
    if service.get().transfer_url == first_url:
        sys.exit("a resumed transfer has the ticket it had")
    locked = system.disks_service().disk_service(disk.id).get().status
    where = urllib.parse.urlsplit(service.get().transfer_url)
    connection = HTTPSConnection(where.hostname, where.port, timeout=30,
                                 context=ssl.create_default_context(cafile=ca))
    connection.request("GET", where.path)
    with open(out, "wb") as file:
        file.write(connection.getresponse().read())
    connection.close()
    service.finalize()
    await_that(lambda: service.get().phase == types.ImageTransferPhase.FINISHED_SUCCESS, "the end")
    disk_service = system.disks_service().disk_service(disk.id)
    await_that(lambda: disk_service.get().status == types.DiskStatus.OK, "the disk")
    return str(locked)


def main():
    url, ca, user, password_file, name, out = sys.argv[1:]
    with open(password_file, encoding="utf-8") as file:
        password = file.read().strip()
    connection = ovirtsdk4.Connection(url=url, username=user, password=password, ca_file=ca)
    system = connection.system_service()
    vms = system.vms_service()
    vm = vms.list(search='name="%s"' % name, case_sensitive=True, all_content=True)[0]
    service = vms.vm_service(vm.id)
    attachments = service.disk_attachments_service().list(follow="disk")
    nics = service.nics_service().list(follow="vnic_profile.network,reported_devices")
    seen = {
        "version": system.get().product_info.version.full_version,
        "memory": vm.memory, "bios": str(vm.bios.type), "sockets": vm.cpu.topology.sockets,
        "aliases": [a.disk.alias for a in attachments],
        "sizes": [a.disk.provisioned_size for a in attachments],
        "networks": [n.vnic_profile.network.name for n in nics if n.vnic_profile],
        "macs": [n.mac.address for n in nics],
        "cluster": connection.follow_link(vm.cluster).name,
        "page": [v.name for v in vms.list(search="sortby name asc page 2", max=2)],
        "found": [d.alias for d in system.disks_service().list(search="alias=bo*")],
        "clusters": [c.name for c in system.clusters_service().list()],
        "domains": [d.name for d in system.storage_domains_service().list()],
        "profiles": sorted(p.network.name + "/" + p.name for p in
                           system.vnic_profiles_service().list(follow="network")),
        "cds": [c.file.id for c in service.cdroms_service().list()
                if c.file and c.file.id],
        "attached": {v.name: len(v.disk_attachments) for v in
                     vms.list(search="sortby name asc page 1", follow="disk_attachments")},
        "links": [d.alias for d in (connection.follow_link(a.disk) for a in
                                    connection.follow_link(vm.disk_attachments))],
    }
    try:
        system.image_transfers_service().add(types.ImageTransfer(
            disk=types.Disk(id=attachments[0].disk.id),
            direction=types.ImageTransferDirection.DOWNLOAD))
    except ovirtsdk4.Error as error:
        seen["refused"] = [error.code, error.fault.detail]
    service.shutdown()
    await_that(lambda: service.get().status == types.VmStatus.DOWN, "the shutdown")
    try:
        service.shutdown()
    except ovirtsdk4.Error as error:
        seen["down"] = [error.code, error.fault.detail]
    try:
        system.vms_service().vm_service("none").get()
    except ovirtsdk4.NotFoundError as error:
        seen["missing"] = error.code
    seen["locked"] = download(system, attachments[0].disk, ca, out)
    connection.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
