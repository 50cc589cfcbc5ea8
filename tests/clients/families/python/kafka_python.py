"""Worker of family kafka-python."""

import re
import sys
import threading

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import for_code

import lines


class KafkaPython:
    def __init__(self, address):
        self.address = address
        self.producers = {}
        self._admin = None

    @property
    def admin(self):
        self._admin = self._admin or KafkaAdminClient(bootstrap_servers=self.address)
        return self._admin

    def hello(self):
        return {"version": kafka.__version__}

    def produce(self, topic, codec, records):
        if codec not in self.producers:
            self.producers[codec] = KafkaProducer(
                bootstrap_servers=self.address,
                compression_type=None if codec == "none" else codec,
                max_request_size=8_000_000,
                max_block_ms=5_000,
                request_timeout_ms=10_000,
                reconnect_backoff_max_ms=500,
                delivery_timeout_ms=15_000,
                linger_ms=20,
            )
        producer = self.producers[codec]
        sent = [
            producer.send(
                topic,
                key=lines.data(one["key"]),
                value=lines.data(one["value"]),
                headers=[(name, lines.data(value)) for name, value in one["headers"]],
                partition=one["partition"],
                timestamp_ms=one["timestamp"],
            )
            for one in records
        ]
        try:
            return {"offsets": [future.get(timeout=30).offset for future in sent]}
        except kafka.errors.KafkaError:
            # An idempotent producer of kafka-python is done with after a record that is refused.
            self.producers.pop(codec).close(timeout=1)
            raise

    def read(self, topic, partition, start, count):
        consumer = self._consumer(None, "none")
        try:
            at = TopicPartition(topic, partition)
            consumer.assign([at])
            consumer.seek(at, start)
            got = []
            while len(got) < count:
                got += consumer.poll(500, max_records=count - len(got)).get(at, [])
            return {
                "records": [
                    lines.record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in got
                ]
            }
        finally:
            consumer.close()

    def offsets(self, topic, partition, time):
        consumer, at = self._consumer(None, "none"), TopicPartition(topic, partition)
        try:
            return {
                "first": consumer.beginning_offsets([at])[at],
                "end": consumer.end_offsets([at])[at],
                "at": consumer.offsets_for_times({at: time})[at].offset,
            }
        finally:
            consumer.close()

    def create(self, topic, partitions, configs):
        self.admin.create_topics(
            {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}
        )

    def topics(self):
        return {"topics": self.admin.list_topics()}

    def describe(self, topic, keys):
        (told,) = self.admin.describe_topics([topic])
        if told["error_code"]:
            raise for_code(told["error_code"])(topic)
        asked = ConfigResource("topic", topic, dict.fromkeys(keys))
        configs = self.admin.describe_configs([asked], config_filter="all")["topic"][topic]
        return {
            "partitions": len(told["partitions"]),
            "configs": {key: configs[key]["value"] for key in keys},
        }

    def alter(self, topic, configs):
        told = self.admin.alter_configs([ConfigResource("topic", topic, configs)])
        if error := re.match(r"\[Error (\d+)\] ", result := told["topic"][topic]):
            raise lines.Failed(int(error[1]), result)

    def grow(self, topic, partitions):
        self.admin.create_partitions({topic: partitions})

    def trim(self, topic, partition, offset):
        self.admin.delete_records({TopicPartition(topic, partition): offset})

    def delete(self, topic):
        self.admin.delete_topics([topic])

    def groups(self):
        return {"groups": [group["group_id"] for group in self.admin.list_groups()]}

    def group(self, group):
        told = self.admin.describe_groups([group])[group]
        return {"state": told["group_state"], "members": len(told["members"])}

    def committed(self, group, topic):
        told = self.admin.list_group_offsets(group)[group]
        return {"offsets": {at.partition: o.offset for at, o in told.items() if at.topic == topic}}

    def forget(self, group):
        told = self.admin.delete_groups([group])[group]
        if told != "OK":
            raise lines.Failed(getattr(kafka.errors, told).errno, told)

    def join(self, group, topic):
        self.leaving = threading.Event()
        self.member = threading.Thread(target=self._run, args=(group, topic), daemon=True)
        self.member.start()

    def leave(self):
        self.leaving.set()
        self.member.join()

    def _run(self, group, topic):
        class Told(kafka.ConsumerRebalanceListener):
            def on_partitions_revoked(self, revoked):
                lines.assigned([])

            def on_partitions_assigned(self, _):
                lines.assigned(at.partition for at in consumer.assignment())

        consumer = self._consumer(group, "earliest")
        consumer.subscribe([topic], listener=Told())
        while not self.leaving.is_set():
            got = [record for some in consumer.poll(100).values() for record in some]
            if got:
                consumer.commit()
                lines.records(record.value for record in got)
        consumer.close()

    def _consumer(self, group, reset):
        return KafkaConsumer(
            bootstrap_servers=self.address,
            group_id=group,
            auto_offset_reset=reset,
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
            fetch_max_wait_ms=100,
            reconnect_backoff_max_ms=500,
            fetch_max_bytes=8_000_000,
            max_partition_fetch_bytes=8_000_000,
        )


lines.serve(KafkaPython(sys.argv[1]), lines.kafka_code)
