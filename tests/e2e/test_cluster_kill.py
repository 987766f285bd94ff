"""A coordinator that dies at any of its writes to the API server: the next one brings things to their right end, with one
VM, one claim and one transfer a disk, or none of them, and nothing left over. kill_sweep.py has the how."""
from kill_scenarios import Adoption, Deletion, Failure, Import, Movers, OvirtDeletion, OvirtImport
from kill_sweep import sweep


def test_dying_at_a_write_of_an_import(tmp_path):
    sweep(tmp_path, Import(tmp_path))


def test_dying_at_a_write_of_an_import_that_cdi_adopts_and_that_starts_its_vm(tmp_path):
    sweep(tmp_path, Adoption(tmp_path))


def test_dying_at_a_write_of_an_import_by_movers(tmp_path):
    sweep(tmp_path, Movers(tmp_path))


def test_dying_at_a_write_of_an_import_from_ovirt(tmp_path):
    sweep(tmp_path, OvirtImport(tmp_path))


def test_dying_at_a_write_of_a_deletion_in_the_middle(tmp_path):
    sweep(tmp_path, Deletion(tmp_path))


def test_dying_at_a_write_of_an_ovirt_deletion_in_the_middle(tmp_path):
    sweep(tmp_path, OvirtDeletion(tmp_path))


def test_dying_at_a_write_of_a_failing_import(tmp_path):
    sweep(tmp_path, Failure(tmp_path))
