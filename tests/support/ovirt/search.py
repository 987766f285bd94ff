"""The search language of collections: `name="my vm" and cluster=Default sortby name page 2`."""

import fnmatch
import re

_TOKEN = re.compile(r"""\s*(?:
    (?P<quoted>"[^"]*") | (?P<op>!=|>=|<=|=|<|>) | (?P<word>[^\s"=<>!]+)
)""", re.VERBOSE)

DEFAULT_MAX = 100


class BadQuery(ValueError):
    """A query the engine answers with 400."""


def run(members, query, fields, limit, case_sensitive):
    """Filters, sorts and pages members.

    fields maps a searchable name to a function from a member to its text. limit is the
    page size or None. Raises BadQuery. A `*` is a wildcard even between quotes, which
    is why names containing one cannot be searched for.
    """
    terms, order, descending, page = _parse(query, fields)
    found = [m for m in members if _matches(m, terms, fields, case_sensitive)]
    if order:
        found.sort(key=lambda m: fields[order](m) or "", reverse=descending)
    size = DEFAULT_MAX if limit is None else limit
    if size < 0:
        return found
    return found[(page - 1) * size:page * size]


def _tokens(query):
    position, result = 0, []
    query = query.strip()
    while position < len(query):
        match = _TOKEN.match(query, position)
        if not match:
            raise BadQuery("cannot read the query at %r" % query[position:position + 20])
        result.append((match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    return result


def _parse(query, fields):
    tokens, terms, order, descending, page = _tokens(query), [], None, False, 1
    joint, position = "and", 0

    def take(kinds, what):
        nonlocal position
        if position >= len(tokens) or tokens[position][0] not in kinds:
            raise BadQuery("expected " + what)
        position += 1
        return tokens[position - 1][1]

    while position < len(tokens):
        word = take(("word",), "a field name").lower()
        if word == "sortby":
            order = _known(take(("word",), "a field name").lower(), fields)
            if position < len(tokens) and tokens[position][1].lower() in ("asc", "desc"):
                descending = tokens[position][1].lower() == "desc"
                position += 1
        elif word == "page":
            number = take(("word",), "a page number")
            if not number.isdigit() or int(number) < 1:
                raise BadQuery("expected a page number")
            page = int(number)
        elif word in ("and", "or"):
            joint = word
        else:
            operator = take(("op",), "an operator after " + word)
            value = take(("quoted", "word"), "a value after " + word + operator).strip('"')
            terms.append((joint, _known(word, fields), operator, value))
            joint = "and"
    return terms, order, descending, page


def _known(field, fields):
    if field not in fields:
        raise BadQuery("there is no field " + field)
    return field


def _matches(member, terms, fields, case_sensitive):
    # `and` binds tighter than `or`, so a query is a list of alternatives.
    alternatives = [[]]
    for joint, field, operator, value in terms:
        if joint == "or":
            alternatives.append([])
        alternatives[-1].append((field, operator, value))
    # States are enumerations and compare without case in any search.
    return any(all(_holds(fields[f](member) or "", op, v, case_sensitive and f != "status")
                   for f, op, v in each) for each in alternatives)


def _holds(actual, operator, wanted, case_sensitive):
    if not case_sensitive:
        actual, wanted = actual.lower(), wanted.lower()
    if operator in ("=", "!="):
        pattern = wanted.replace("[", "[[]").replace("?", "[?]")
        return fnmatch.fnmatchcase(actual, pattern) == (operator == "=")
    return {"<": actual < wanted, ">": actual > wanted,
            "<=": actual <= wanted, ">=": actual >= wanted}[operator]
