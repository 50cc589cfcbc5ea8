"""The line protocol, for workers in Python: requests in, answers and events out."""

import base64
import json
import os
import sys
import threading

# Whatever the library prints goes to the evidence, and only lines of the protocol to the driver.
_out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
_lock = threading.Lock()


class Unsupported(Exception):
    """The library cannot do that; the text says why."""


class Failed(Exception):
    """The library answered with an error; the code is Kafka's, or None where it hides it."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def say(line):
    with _lock:
        _out.write(json.dumps(line) + "\n")
        _out.flush()


def assigned(partitions):
    """Tells what a group member has now."""
    say({"event": "assigned", "partitions": sorted(partitions)})


def records(values):
    """Tells what a group member has read and committed."""
    say({"event": "records", "values": [text(value) for value in values]})


def text(value):
    return None if value is None else base64.b64encode(value).decode()


def data(line):
    return None if line is None else base64.b64decode(line)


def record(offset, timestamp, key, value, headers):
    """A record that was read, as the driver wants it."""
    return {
        "offset": offset,
        "timestamp": timestamp,
        "key": text(key),
        "value": text(value),
        "headers": [[name, text(content)] for name, content in headers or ()],
    }


def requests():
    for line in sys.stdin:
        request = json.loads(line)
        if "from" in request:
            request["start"] = request.pop("from")
        yield request.pop("op"), request


def answer(error=None, ok=None, code=lambda error: None):
    """Sends the answer for what an operation gave or raised."""
    if error is None:
        say({"ok": ok if ok is not None else {}})
    elif isinstance(error, Unsupported):
        say({"unsupported": str(error)})
    else:
        sys.excepthook(type(error), error, error.__traceback__)
        known = error.code if isinstance(error, Failed) else code(error)
        say({"error": known, "text": f"{type(error).__name__}: {error}"})


def serve(operations, code=lambda error: None):
    """Answers until the input ends. An operation is a method named like it; `from` comes as
    `start`, for the word is Python's. `code` finds Kafka's error code in the library's error."""
    for op, request in requests():
        try:
            done = getattr(operations, op)(**request)
        except Exception as error:
            answer(error, code=code)
        else:
            answer(ok=done)


def kafka_code(error):
    """The code in an error of kafka-python or aiokafka, or in what caused it."""
    while error is not None:
        code = getattr(error, "errno", None)
        if isinstance(code, int) and code > 0:
            return code
        error = error.__cause__ or error.__context__
    return None
