"""Worker of family librdkafka: confluent-kafka for Python."""

import sys
import threading

import confluent_kafka as ck
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from confluent_kafka import TopicPartition

import lines

WAIT = 20


class Librdkafka:
    def __init__(self, address):
        self.common = {"bootstrap.servers": address, "reconnect.backoff.max.ms": 500}
        self.admin = AdminClient(self.common)
        self.producers = {}
        self.member = None

    def hello(self):
        return {"version": f"{ck.__version__} (librdkafka {ck.libversion()[0]})"}

    def produce(self, topic, codec, records):
        if codec not in self.producers:
            self.producers[codec] = ck.Producer(
                self.common
                | {
                    "compression.codec": codec,
                    "message.max.bytes": 8_000_000,
                    "message.timeout.ms": 15_000,
                    "topic.metadata.propagation.max.ms": 4_000,
                    "linger.ms": 20,
                }
            )
        producer, told = self.producers[codec], [None] * len(records)

        def report(index):
            return lambda error, message: told.__setitem__(index, (error, message))

        for index, one in enumerate(records):
            producer.produce(
                topic,
                key=lines.data(one["key"]),
                value=lines.data(one["value"]),
                headers=[(name, lines.data(value)) for name, value in one["headers"]],
                partition=one["partition"],
                timestamp=one["timestamp"] or 0,
                on_delivery=report(index),
            )
        producer.flush()
        for error, _ in told:
            _check(error)
        return {"offsets": [message.offset() for _, message in told]}

    def read(self, topic, partition, start, count):
        consumer = self._consumer("reader", "error")
        try:
            consumer.assign([TopicPartition(topic, partition, start)])
            got = []
            while len(got) < count:
                for message in consumer.consume(count - len(got), 0.5):
                    _check(message.error())
                    got.append(message)
            return {
                "records": [
                    lines.record(m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())
                    for m in got
                ]
            }
        finally:
            consumer.close()

    def offsets(self, topic, partition, time):
        consumer = self._consumer("reader", "error")
        try:
            first, end = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=WAIT
            )
            at = consumer.offsets_for_times([TopicPartition(topic, partition, time)], timeout=WAIT)
            return {"first": first, "end": end, "at": at[0].offset}
        finally:
            consumer.close()

    def create(self, topic, partitions, configs):
        new = NewTopic(topic, partitions, 1, config=configs)
        _done(self.admin.create_topics([new], operation_timeout=WAIT))

    def topics(self):
        return {"topics": list(self.admin.list_topics(timeout=WAIT).topics)}

    def describe(self, topic, keys):
        meta = _done(self.admin.describe_topics(ck.TopicCollection([topic])))
        configs = _done(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return {
            "partitions": len(meta.partitions),
            "configs": {key: configs[key].value for key in keys},
        }

    def alter(self, topic, configs):
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in configs.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        _done(self.admin.incremental_alter_configs([resource]))

    def grow(self, topic, partitions):
        _done(
            self.admin.create_partitions([NewPartitions(topic, partitions)], operation_timeout=WAIT)
        )

    def trim(self, topic, partition, offset):
        _done(self.admin.delete_records([TopicPartition(topic, partition, offset)]))

    def delete(self, topic):
        _done(self.admin.delete_topics([topic], operation_timeout=WAIT))

    def groups(self):
        listed = self.admin.list_consumer_groups(request_timeout=WAIT).result()
        return {"groups": [group.group_id for group in listed.valid]}

    def group(self, group):
        told = _done(self.admin.describe_consumer_groups([group], request_timeout=WAIT))
        state = "".join(word.title() for word in told.state.name.split("_"))
        return {"state": state, "members": len(told.members)}

    def committed(self, group, topic):
        asked = [ck.ConsumerGroupTopicPartitions(group)]
        told = _done(self.admin.list_consumer_group_offsets(asked, request_timeout=WAIT))
        return {
            "offsets": {p.partition: p.offset for p in told.topic_partitions if p.topic == topic}
        }

    def forget(self, group):
        _done(self.admin.delete_consumer_groups([group], request_timeout=WAIT))

    def join(self, group, topic):
        self.leaving = threading.Event()
        self.member = threading.Thread(target=self._run, args=(group, topic), daemon=True)
        self.member.start()

    def leave(self):
        self.leaving.set()
        self.member.join()

    def _run(self, group, topic):
        def changed(consumer, partitions):
            lines.assigned(p.partition for p in partitions)

        consumer = self._consumer(group, "earliest")
        consumer.subscribe([topic], on_assign=changed, on_revoke=lambda *_: lines.assigned([]))
        while not self.leaving.is_set():
            got = [message for message in consumer.consume(100, 0.1) if not message.error()]
            if got:
                consumer.commit(asynchronous=False)
                lines.records(message.value() for message in got)
        consumer.close()

    def _consumer(self, group, reset):
        return ck.Consumer(
            self.common
            | {
                "group.id": group,
                "auto.offset.reset": reset,
                "enable.auto.commit": False,
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 500,
                "fetch.wait.max.ms": 100,
                "check.crcs": True,
            }
        )


def _check(error):
    """Errors of librdkafka itself have negative codes; some stand for one of Kafka's."""
    own = {
        ck.KafkaError._AUTO_OFFSET_RESET: 1,
        ck.KafkaError._UNKNOWN_TOPIC: 3,
        ck.KafkaError._UNKNOWN_PARTITION: 3,
    }
    if error is not None:
        code = error.code()
        raise lines.Failed(own.get(code, code if code >= 0 else None), error.str())


def _done(futures):
    """What the one future of an admin call gave."""
    (future,) = futures.values()
    try:
        return future.result(timeout=WAIT)
    except ck.KafkaException as error:
        return _check(error.args[0])


lines.serve(Librdkafka(sys.argv[1]))
