#!/usr/bin/env python3
"""Write proto/kafka/*.txt from message facts in JSON (run once per Kafka release).

Usage: import_facts.py MESSAGES.json COORDINATOR_RECORDS.json

The facts are lists of objects with Kafka's names, types, version ranges, defaults and tags. They are
not part of the repository; the text files are, in a notation of our own (proto/README.md), and they
are all that the generator reads.
"""

import json
import pathlib
import sys

OUT = pathlib.Path(__file__).parent / "kafka"
ZERO = {"string": "", "bool": "false", "float64": "0"}


def default(field):
    """The default as text, or None where it is the type's zero."""
    if "default" not in field:
        return None
    value = field["default"]
    if value is None or value == "null":
        return "null"
    if isinstance(value, bool):
        value = str(value).lower()
    value = str(value)
    if value.startswith("0x"):
        value = str(int(value, 16))
    return None if value == ZERO.get(field["type"], "0") else value


def field_lines(field, depth):
    words = [field["name"], field["type"], field.get("versions") or field["taggedVersions"]]
    if "nullableVersions" in field:
        words += ["null", field["nullableVersions"]]
    if "tag" in field:
        assert field["taggedVersions"] == words[2], field
        words += ["tag", str(field["tag"])]
    if default(field) is not None:
        words += ["default", default(field)]
    if field.get("ignorable") in (True, "true"):
        words.append("ignorable")
    yield "  " * depth + " ".join(words)
    for child in field.get("fields", []):
        yield from field_lines(child, depth + 1)


def message_lines(head, message):
    unstable = " unstable" if message.get("latestVersionUnstable") else ""
    yield f"{head} {message['validVersions']} flexible {message.get('flexibleVersions', 'none')}{unstable}"
    for field in message["fields"]:
        yield from field_lines(field, 1)
    for struct in message.get("commonStructs", []):
        yield f"  struct {struct['name']} {struct['versions']}"
        for field in struct["fields"]:
            yield from field_lines(field, 2)


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def main(messages, records):
    by_name = {m["name"]: m for m in json.load(open(messages))}
    for request in by_name.values():
        if request["type"] != "request" or "broker" not in request.get("listeners", []):
            continue
        name = request["name"].removesuffix("Request")
        response = by_name[name + "Response"]
        lines = [f"api {request['apiKey']} {name}", ""]
        lines += message_lines("request", request)
        lines += ["", *message_lines("response", response)]
        write(OUT / f"{name}.txt", lines)
    for name in ("ConsumerProtocolAssignment", "ConsumerProtocolSubscription"):
        write(OUT / f"{name}.txt", [f"data {name}", "", *message_lines("data", by_name[name])])

    by_name = {m["name"]: m for m in json.load(open(records))}
    for key in by_name.values():
        if key["type"] != "coordinator-key":
            continue
        name = key["name"].removesuffix("Key")
        topic = {"TransactionLog": "transaction", "ShareSnapshot": "share", "ShareUpdate": "share"}
        lines = [f"record {key['apiKey']} {name} {topic.get(name, 'group')}", ""]
        lines += message_lines("key", key)
        lines += ["", *message_lines("value", by_name[name + "Value"])]
        write(OUT / "coordinator" / f"{name}.txt", lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
