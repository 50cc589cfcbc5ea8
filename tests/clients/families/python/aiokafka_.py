"""Worker of family aiokafka."""

import asyncio
import sys

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

import lines


class Aiokafka:
    def __init__(self, address):
        self.address = address
        self.producers = {}
        self._admin = None

    async def admin(self):
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
            await self._admin.start()
        return self._admin

    async def close(self):
        for client in self.producers.values():
            await client.stop()
        if self._admin:
            await self._admin.close()

    async def hello(self):
        return {"version": aiokafka.__version__}

    async def produce(self, topic, codec, records):
        if codec not in self.producers:
            self.producers[codec] = AIOKafkaProducer(
                bootstrap_servers=self.address,
                compression_type=None if codec == "none" else codec,
                max_request_size=8_000_000,
                request_timeout_ms=5_000,
                linger_ms=20,
            )
            await self.producers[codec].start()
        producer = self.producers[codec]
        sent = [
            await producer.send(
                topic,
                key=lines.data(one["key"]),
                value=lines.data(one["value"]),
                headers=[(name, lines.data(value)) for name, value in one["headers"]],
                partition=one["partition"],
                timestamp_ms=one["timestamp"],
            )
            for one in records
        ]
        return {"offsets": [told.offset for told in await asyncio.gather(*sent)]}

    async def read(self, topic, partition, start, count):
        at = TopicPartition(topic, partition)
        async with self._consumer(None, "none") as consumer:
            consumer.assign([at])
            consumer.seek(at, start)
            got = []
            while len(got) < count:
                more = await consumer.getmany(at, timeout_ms=500, max_records=count - len(got))
                got += more.get(at, [])
            return {
                "records": [
                    lines.record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in got
                ]
            }

    async def offsets(self, topic, partition, time):
        at = TopicPartition(topic, partition)
        async with self._consumer(None, "none") as consumer:
            return {
                "first": (await consumer.beginning_offsets([at]))[at],
                "end": (await consumer.end_offsets([at]))[at],
                "at": (await consumer.offsets_for_times({at: time}))[at].offset,
            }

    async def create(self, topic, partitions, configs):
        admin = await self.admin()
        told = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        for _, code, *message in told.topic_errors:
            _raise(code, *message)

    async def topics(self):
        return {"topics": await (await self.admin()).list_topics()}

    async def describe(self, topic, keys):
        admin = await self.admin()
        (told,) = await admin.describe_topics([topic])
        _raise(told["error_code"], topic)
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(keys))
        (answer,) = await admin.describe_configs([asked])
        ((code, message, _, _, entries),) = answer.resources
        _raise(code, message)
        return {
            "partitions": len(told["partitions"]),
            "configs": {name: value for name, value, *_ in entries},
        }

    async def alter(self, topic, configs):
        asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        (answer,) = await (await self.admin()).alter_configs([asked])
        for code, message, *_ in answer.resources:
            _raise(code, message)

    async def grow(self, topic, partitions):
        await (await self.admin()).create_partitions({topic: NewPartitions(partitions)})

    async def trim(self, topic, partition, offset):
        upto = {TopicPartition(topic, partition): RecordsToDelete(offset)}
        await (await self.admin()).delete_records(upto)

    async def delete(self, topic):
        told = await (await self.admin()).delete_topics([topic])
        for _, code, *_ in told.topic_error_codes:
            _raise(code, topic)

    async def groups(self):
        listed = await (await self.admin()).list_consumer_groups()
        return {"groups": [name for name, *_ in listed]}

    async def group(self, group):
        (answer,) = await (await self.admin()).describe_consumer_groups([group])
        ((code, _, state, _, _, members, *_),) = answer.groups
        _raise(code, group)
        return {"state": state, "members": len(members)}

    async def committed(self, group, topic):
        told = await (await self.admin()).list_consumer_group_offsets(group)
        return {"offsets": {at.partition: o.offset for at, o in told.items() if at.topic == topic}}

    async def forget(self, group):
        raise lines.Unsupported("aiokafka's admin client cannot delete groups")

    async def join(self, group, topic):
        self.leaving = False
        self.member = asyncio.create_task(self._run(group, topic))

    async def leave(self):
        self.leaving = True
        await self.member

    async def _run(self, group, topic):
        class Told(ConsumerRebalanceListener):
            async def on_partitions_revoked(self, revoked):
                lines.assigned([])

            async def on_partitions_assigned(self, assigned):
                lines.assigned(at.partition for at in assigned)

        consumer = self._consumer(group, "earliest")
        consumer.subscribe([topic], listener=Told())
        async with consumer:
            while not self.leaving:
                more = await consumer.getmany(timeout_ms=100)
                got = [record for some in more.values() for record in some]
                if got:
                    await consumer.commit()
                    lines.records(record.value for record in got)

    def _consumer(self, group, reset):
        return AIOKafkaConsumer(
            bootstrap_servers=self.address,
            group_id=group,
            auto_offset_reset=reset,
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=8_000_000,
        )


def _raise(code, message=""):
    if code:
        raise for_code(code)(message)


async def main():
    operations, loop = Aiokafka(sys.argv[1]), asyncio.get_running_loop()
    requests = lines.requests()
    while request := await loop.run_in_executor(None, next, requests, None):
        op, fields = request
        try:
            done = await getattr(operations, op)(**fields)
        except Exception as error:
            lines.answer(error, code=lines.kafka_code)
        else:
            lines.answer(ok=done)
    await operations.close()


asyncio.run(main())
