"""The client families: how each worker is started, and what its library cannot do.

What stands in `cannot` is reported as n/a with its reason. Something belongs there only if the
library lacks it; what a broker does wrong is a failure.
"""

from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

KCAT = {
    "timestamp": "kcat cannot set timestamps",
    "binary key": "a key comes from kcat's command line, which has no NUL",
}
NO_NULL_HEADER = {"null header": "the library refuses a header without a value"}
NO_NULLS = {"null key and value": "the library wants a key or a value"}
KAFKAJS = NO_NULL_HEADER | {
    "errors: consume from an offset out of range": (
        "kafkajs goes on at an end of the log without a word"
    ),
}
UNKNOWN_TOPIC = "errors: produce to an unknown topic"


@dataclass(frozen=True)
class Family:
    """A client library and the worker program that speaks for it."""

    name: str
    command: tuple
    ci: bool = False
    environment: dict | None = None
    #: What its library cannot do, by the name of a check or of a feature of records; with reasons.
    cannot: dict = field(default_factory=dict)
    #: Error codes that its library tells instead of the broker's; None where it hides the code.
    tells: dict = field(default_factory=dict)


def all_of(work, environment):
    """All families, in the order of the reports. `work` is where the `run` script built them."""
    python = str(work / "venv/bin/python")
    node = str(work / "venv/bin/node")

    def jvm(line):
        flags = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m")
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        at = work / "java" / line
        return ("java", *flags, quiet, "-cp", f"{at}/classes:{at}/lib/*", "Worker")

    def script(name):
        return (python, str(HERE / "python" / name))

    found = [
        Family("java-4.4", jvm("new"), ci=True),
        # Says that the topic is not in the metadata, in an error of its own.
        Family("java-2.8", jvm("old"), ci=True, tells={UNKNOWN_TOPIC: None}),
        Family("librdkafka", script("librdkafka.py"), ci=True),
        Family("kcat", script("kcat.py"), ci=True, cannot=KCAT),
        Family("franz-go", (str(work / "go/franz"),), ci=True),
        Family(
            "kafka-python",
            script("kafka_python.py"),
            cannot=NO_NULL_HEADER | NO_NULLS,
            tells={UNKNOWN_TOPIC: None},  # says that metadata did not come in time
        ),
        Family("aiokafka", script("aiokafka_.py"), cannot=NO_NULLS),
        Family("kafkajs", (node, str(work / "node/kafkajs.mjs")), cannot=KAFKAJS),
        Family(
            "platformatic",
            (node, str(work / "node/platformatic.mjs")),
            # Says "Unknown topic" in an error of its own.
            tells={UNKNOWN_TOPIC: None, "errors: describe an unknown topic": None},
        ),
        Family("sarama", (str(work / "go/sarama"),)),
    ]
    return [Family(**{**vars(one), "environment": environment}) for one in found]
