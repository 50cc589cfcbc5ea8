"""The codec matrix: what each family writes with each codec, every family reads byte for byte."""

import dataclasses
import time

import wire
from basics import same
from records import difference, of_the_matrix


class Matrix:
    """One topic per writer and codec, and what was written to it."""

    def __init__(self, report, world, families):
        self.report, self.world, self.families = report, world, families
        self.written = {}
        self.begun = int(time.time() * 1000)

    def write(self, writer):
        for codec in wire.CODECS:
            name = f"codec {codec}: written, and as such in the log"
            self.report.check(writer, name, self._write, writer, codec)

    def read(self, reader):
        for (writer, codec), sent in self.written.items():
            name = f"codec {codec}: reads what {writer} wrote"
            self.report.check(reader, name, self._read, reader, writer, codec, sent)

    def _write(self, writer, codec):
        topic = _topic(writer.name, codec)
        self.world.create(topic, 1, {"retention.ms": "-1"})
        sent = [record for record in map(self._for(writer), of_the_matrix()) if record]
        offsets = self.world.workers[writer.name].produce(topic, sent, codec)
        if offsets:
            same(list(range(len(sent))), offsets, "offsets that the producer was told")
        self.written[writer.name, codec] = sent
        batches = wire.batches(self.world.broker.port, topic)
        same(len(sent), sum(batch.records for batch in batches), "records in the log")
        # A batch that a codec makes larger may be left as it is.
        small = {batch.codec for batch in batches if batch.records == 1}
        large = {batch.codec for batch in batches if batch.records > 1}
        if not (large | small) <= {codec, "none"} or codec not in large | small:
            raise AssertionError(f"codecs in the log: {sorted(large | small)}")

    @staticmethod
    def _for(writer):
        """A record without what the writer's library cannot write; None if nothing is left."""

        def fit(record):
            if "timestamp" in writer.cannot:
                record = dataclasses.replace(record, timestamp=None)
            if "null key and value" in writer.cannot and record.key is record.value is None:
                return None
            if "null header" in writer.cannot and record.key == b"null header":
                return None
            if "binary key" in writer.cannot and record.key and b"\0" in record.key:
                return None
            return record

        return fit

    def _read(self, reader, writer, codec, sent):
        got = self.world.workers[reader.name].read(_topic(writer, codec), len(sent))
        same(len(sent), len(got), "records")
        for index, (due, read) in enumerate(zip(sent, got, strict=True)):
            same(index, read.offset, "offset")
            if differs := difference(due, read):
                raise AssertionError(f"record {index}: {differs}")
            if due.timestamp is None and not self.begun <= read.timestamp <= int(
                time.time() * 1000
            ):
                raise AssertionError(f"record {index}: its time is {read.timestamp}")


def _topic(writer, codec):
    return f"matrix-{writer}-{codec}"
