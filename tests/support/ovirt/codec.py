"""The two body forms of the REST API, from one tree.

Inside the engine a resource is an xml.etree Element, built from a plain dict
in the API's JSON shape ("nics": {"nic": [...]}). The JSON form is derived from
the Element by the rules real engines follow: collections are wrapped lists,
booleans and integers are strings, dates are milliseconds, decimals are numbers.
"""

import json
import re
from datetime import datetime, timezone
from xml.etree import ElementTree

MAX_BODY_BYTES = 1 << 20

ATTRIBUTES = ("id", "href", "rel")

# Elements whose children are list members, so that JSON wraps even a single one.
COLLECTIONS = frozenset("""
    vms clusters storage_domains networks vnic_profiles hosts data_centers disks disk_attachments
    disk_snapshots nics cdroms watchdogs graphics_consoles host_devices reported_devices snapshots
    tags instance_types quotas templates image_transfers jobs custom_properties vcpu_pins devices
    methods usages required_rng_sources ips logical_units nic_configurations
    network_filter_parameters
""".split())

DATES = frozenset("start_time stop_time creation_time date time end_time last_updated".split())
DECIMALS = frozenset(["speed"])

_TEXT_ONLY = frozenset("name alias description comment value fqdn serial full_version".split())


class BadBody(ValueError):
    """A request body that is not what its content type promises."""


def iso(milliseconds):
    """Milliseconds since the epoch as the XML form writes dates."""
    when = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + "%03d+00:00" % (milliseconds % 1000)


def milliseconds(text):
    """The inverse of iso(); accepts any offset, 'Z' and a missing fraction."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def element(tag, tree):
    """Builds an Element from a dict in the API's JSON shape; None means unset."""
    result = ElementTree.Element(tag)
    if isinstance(tree, dict):
        for key, value in tree.items():
            if value is None:
                continue
            if key in ATTRIBUTES:
                result.set(key, _text(key, value))
                continue
            for item in value if isinstance(value, list) else [value]:
                result.append(element(key, item))
    elif isinstance(tree, list):
        raise TypeError("list members need a tag: " + tag)
    elif tree is not None:
        result.text = _text(tag, tree)
    return result


def collection(tag, members, href=None):
    """A list element around member Elements."""
    result = ElementTree.Element(tag)
    if href:
        result.set("href", href)
    result.extend(members)
    return result


def _text(tag, value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and tag in DATES:
        return iso(value)
    return str(value)


def to_xml(root):
    """Bytes of a complete XML document."""
    head = b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    return head + ElementTree.tostring(root, encoding="utf-8", short_empty_elements=True)


def to_json(root, native_scalars=False):
    """Bytes of a complete JSON document.

    native_scalars writes booleans and integers bare, as the documentation shows and
    some engines do; the default writes them as strings.
    """
    return json.dumps(_plain(root, native_scalars), indent=2).encode() + b"\n"


def _plain(node, native):
    is_collection = node.tag in COLLECTIONS
    if not len(node) and not node.attrib and not is_collection:
        return _scalar(node.tag, node.text or "", native)
    result = dict(node.attrib)
    for child in node:
        value = _plain(child, native)
        if is_collection or child.tag == "link":
            result.setdefault(child.tag, []).append(value)
        elif child.tag in result:
            known = result[child.tag]
            result[child.tag] = (known if isinstance(known, list) else [known]) + [value]
        else:
            result[child.tag] = value
    return result


def _scalar(tag, text, native):
    if tag in DATES and text:
        return milliseconds(text)
    if tag in DECIMALS and text:
        return float(text)
    if native and text in ("true", "false"):
        return text == "true"
    if native and tag not in _TEXT_ONLY and re.fullmatch(r"-?[0-9]{1,19}", text):
        return int(text)
    return text


def parse(body, is_json, root):
    """Parses a request body into an Element named `root`; raises BadBody."""
    if len(body) > MAX_BODY_BYTES:
        raise BadBody("body is larger than %d bytes" % MAX_BODY_BYTES)
    try:
        if is_json:
            tree = json.loads(body)
            if not isinstance(tree, dict):
                raise BadBody("expected an object")
            return element(root, tree)
        if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
            raise BadBody("document types are not accepted")
        parsed = ElementTree.fromstring(body)
    except (ValueError, TypeError, RecursionError, ElementTree.ParseError) as error:
        raise BadBody(str(error)) from None
    if parsed.tag != root:
        raise BadBody("expected <%s>, got <%s>" % (root, parsed.tag))
    return parsed


def replace_children(target, fragment):
    """Puts the elements of an XML fragment into target, each instead of those of its name."""
    parsed = ElementTree.fromstring("<fragment>" + fragment + "</fragment>")
    for tag in {child.tag for child in parsed}:
        for old in target.findall(tag):
            target.remove(old)
    target.extend(list(parsed))
