#!/usr/bin/env python3
"""Which test stands for which row of the specification's tables of edge cases.

    tests/support/edge_rows.py            every row and the tests that carry its id
    tests/support/edge_rows.py --missing  only rows without a test; ends with 1 if there are any

A test carries an id in its name (Val31WantsTheTemplatesMemory, Vw05And06...) or in the label of a case, a string that
starts with it ("VAL-31", "VAL-115, VAL-116 both"). A Python test's docstring may be such a label. What a comment mentions does not count,
nor a range (Val60To63): its cases carry their own ids. In Python's names the ids are in lower case (test_vsrc50_and_51_...).

The rows are those of the decisions: API (objects and configuration), OV and VW (mapping), OS (systems and templates), VAL
(validation) and ADM (admission); of the sources: SRC (oVirt) and VSRC (vSphere); LC, those of the life of an import; NS and NR, those of
the data plane (edge cases of NBD, HTTP, sinks and journal; what real servers and kernels do).
"""

import pathlib
import re
import sys

ROWS = {
    "API": "1-6 10-15 20-25 30-42 50-55 60-65",
    "OV": "1-17 20-25 30-38 40-54 60-67 70-83 90-118 130-132",
    "VW": "1-16 20-28 30-38 50-58",
    "OS": "1-7 10-18 20-25 30-39 40-47 50-52",
    "VAL": "1-34 40-41 50-56 60-70 80-95 100-118 130-135",
    "ADM": "1-21",
    "SRC": "1-40",
    "VSRC": "1-52",
    "LC": "1-7 10-22 30-41 50-59 60-70 80-87 90-95 100-111 120-128 130-133",
    "NS": "1-40",
    "NR": "1-12",
}

# Rows that no test here can stand for, and why.
WITHOUT_TEST = {
    "VW-55": "a cold import takes no snapshot",
    "API-55": "a finished conversion pod: no guest is converted yet",
    "NS-29": "there is no io_uring: blocking workers with direct I/O reach the same rate",
    "SRC-17": "of warm copies: a cold import asks for no dirty extents, and a warm one of oVirt is refused (request.warm)",
    "SRC-18": "as SRC-17",
    "SRC-37": "of backups with checkpoints, which only a warm import would make; what a cold one meets, a disk or VM that "
              "somebody's backup holds, is in e2e/test_ovirt_faults.py and test_ovirt_power.py",
    "VSRC-17": "nothing waits at the server: tasks and leases are asked for (properties.h)",
    "VSRC-19": "a cold import takes no snapshot",
    "VSRC-20": "a cold import asks for no changed areas",
    "VSRC-21": "as VSRC-20",
    "VSRC-22": "as VSRC-20",
    "VSRC-23": "as VSRC-20",
    "VSRC-24": "as VSRC-20",
    "VSRC-25": "as VSRC-20; a disk that grew is noticed all the same (VSRC-33)",
    "VSRC-26": "as VSRC-20",
    "VSRC-29": "chains of deltas are followed by VDDK or by the host that exports, never here",
}

WITHOUT_TEST.update({f"LC-{n}": "guest conversion, of VMware alone" for n in range(80, 88)})
WITHOUT_TEST.update({f"LC-{n}": "warm imports, of VMware alone" for n in range(120, 129)})

TESTS = pathlib.Path(__file__).resolve().parents[1]
PREFIX = "|".join(ROWS)
# A string that starts with ids: the label of a case.
LABEL = re.compile(rf'"((?:(?:{PREFIX})-\d{{1,3}}(?!\d)(?:, | and )?)+)')
SPELLED = re.compile(rf"({PREFIX})-(\d{{1,3}})")
COMMENT = re.compile(r"^\s*(//|#|\*)|\s//\s.*$")
NAMED = re.compile(rf"({PREFIX}|{PREFIX.title()}|(?<=_)(?:{PREFIX.lower()}))(\d{{1,3}})(?!\d|To\d)((?:_?[Aa]nd_?\d+)*)")
JOINED = re.compile(r"[Aa]nd_?(\d+)")
TEST = re.compile(r"^\s*TEST(?:_[FP])?\((\w+),\s*(\w+)\)|^\s*(?:async )?def (test_\w+)", re.M)


def rows():
    for prefix, ranges in ROWS.items():
        for part in ranges.split():
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield f"{prefix}-{number}"


def row_id(prefix, number):
    return f"{prefix.upper()}-{int(number)}"


def ids_of_name(name):
    for prefix, first, more in NAMED.findall(name):
        yield from (row_id(prefix, number) for number in [first, *JOINED.findall(more)])


def tests_by_row():
    found = {}
    for path in sorted(TESTS.rglob("*")):
        if path.suffix not in (".cc", ".py", ".h") or path.name == "edge_rows.py":
            continue
        name = path.stem
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := TEST.search(line):
                name = match[3] or f"{match[1]}.{match[2]}"
            ids = set()
            if match := TEST.search(line):
                ids.update(ids_of_name(match[3] or match[2]))
            for label in LABEL.findall(COMMENT.sub("", line)):
                ids.update(row_id(prefix, number) for prefix, number in SPELLED.findall(label))
            for one in ids:
                found.setdefault(one, {})[f"{path.relative_to(TESTS)}: {name}"] = None
    return found


def main():
    found = tests_by_row()
    missing = [row for row in rows() if row not in found and row not in WITHOUT_TEST]
    if sys.argv[1:] != ["--missing"]:
        for row in rows():
            for test in found.get(row, [WITHOUT_TEST.get(row, "MISSING")]):
                print(f"{row:8} {test}")
    for row in missing:
        print(f"{row}: no test carries this id", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
