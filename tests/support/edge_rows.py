#!/usr/bin/env python3
"""Which test stands for which row of the specification's tables of edge cases.

    tests/support/edge_rows.py            every row and the tests that carry its id
    tests/support/edge_rows.py --missing  only rows without a test; ends with 1 if there are any

A test carries an id in its name (Val31WantsTheTemplatesMemory, Vw05And06...) or in the label of a case, a string that
starts with it ("VAL-31", "VAL-115, VAL-116 both"). What a comment mentions does not count,
nor a range (Val60To63): its cases carry their own ids. The rows are those of the decisions: API (objects and configuration), OV and VW
(mapping), OS (systems and templates), VAL (validation) and ADM (admission).
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
}

# Rows that no test here can stand for, and why.
WITHOUT_TEST = {
    "API-37": "needs the reconciler under test, with a store that fails",
    "API-38": "as API-37",
    "OV-131": "the provider asks once a pass and does not wait; the reconciler comes back",
    "VW-55": "a cold import takes no snapshot",
    "OV-130": "the client has no connection object that could be missing",
    "API-50": "no derived secret, config map or pod is looked up by label: names derive from the UID",
    "API-51": "as API-50",
    "API-52": "as API-50",
    "API-53": "as API-50: names are not generated",
    "API-54": "as API-50",
    "API-55": "as API-50",
    "ADM-16": "the plan is kept once decided: a changed spec has no effect (tests of the plan)",
    "ADM-19": "admission alone can tell who wrote an annotation",
    "ADM-21": "says that nothing is to be checked",
}

TESTS = pathlib.Path(__file__).resolve().parents[1]
# A string that starts with ids: the label of a case.
LABEL = re.compile(r'"((?:(?:API|OV|VW|OS|VAL|ADM)-\d{1,3}(?!\d)(?:, | and )?)+)')
SPELLED = re.compile(r"(API|OV|VW|OS|VAL|ADM)-(\d{1,3})")
COMMENT = re.compile(r"^\s*(//|#|\*)|\s//\s.*$")
NAMED = re.compile(r"(API|OV|VW|OS|VAL|ADM|Api|Ov|Vw|Os|Val|Adm)(\d{1,3})(?!\d|To\d)((?:And\d+)*)")
JOINED = re.compile(r"And(\d+)")
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
