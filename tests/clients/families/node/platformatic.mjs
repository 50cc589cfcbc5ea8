// Worker of family platformatic: @platformatic/kafka.

import { readFile } from 'node:fs/promises'
import { Admin, Consumer, Producer, ConfigResourceTypes, MessagesStreamModes, MessagesStreamFallbackModes } from '@platformatic/kafka'
import * as lines from './lines.mjs'

const common = { clientId: 'families', bootstrapBrokers: [process.argv[2]], autocreateTopics: false, retries: 3, retryDelay: 200 }
const admin = new Admin(common)
const producer = new Producer(common)
let member
let readers = 0

const operations = {
  async hello () {
    const at = new URL('../package.json', import.meta.resolve('@platformatic/kafka'))
    return { version: JSON.parse(await readFile(at)).version }
  },

  async produce ({ topic, codec, records }) {
    const messages = records.map(one => ({
      topic,
      partition: one.partition,
      key: lines.data(one.key) ?? undefined,
      value: lines.data(one.value) ?? undefined,
      headers: new Map(one.headers.map(([name, value]) => [Buffer.from(name), lines.data(value)])),
      ...one.timestamp === null ? {} : { timestamp: BigInt(one.timestamp) }
    }))
    const told = await producer.send({ messages, compression: codec, acks: -1 })
    const next = new Map(told.offsets.map(({ partition, offset }) => [partition, Number(offset)]))
    const offsets = records.map(({ partition }) => {
      const offset = next.get(partition)
      next.set(partition, offset + 1)
      return offset
    })
    return { offsets }
  },

  async read ({ topic, partition, from, count }) {
    const consumer = consumerOf(`reader-${process.pid}-${readers++}`)
    const got = []
    try {
      const stream = await consumer.consume({
        topics: [topic],
        mode: MessagesStreamModes.MANUAL,
        fallbackMode: MessagesStreamFallbackModes.FAIL,
        offsets: [{ topic, partition, offset: BigInt(from) }]
      })
      for await (const message of stream) {
        if (message.partition !== partition) continue
        got.push(message)
        if (got.length === count) break
      }
    } finally {
      await consumer.close(true)
    }
    return {
      records: got.map(({ offset, timestamp, key, value, headerEntries }) => ({
        offset: Number(offset),
        timestamp: Number(timestamp),
        key: lines.text(key),
        value: lines.text(value),
        headers: headerEntries.map(([name, value]) => [name.toString(), lines.text(value)])
      }))
    }
  },

  async offsets ({ topic, partition, time }) {
    const at = async timestamp => {
      const partitions = [{ partitionIndex: partition, timestamp: BigInt(timestamp) }]
      const [told] = await admin.listOffsets({ topics: [{ name: topic, partitions }] })
      return Number(told.partitions[0].offset)
    }
    return { first: await at(-2), end: await at(-1), at: await at(time) }
  },

  async create ({ topic, partitions, configs }) {
    const entries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: entries })
  },

  topics: async () => ({ topics: await admin.listTopics() }),

  async describe ({ topic, keys }) {
    const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true })
    const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: keys }]
    const [{ configs }] = await admin.describeConfigs({ resources })
    return {
      partitions: topics.get(topic).partitionsCount,
      configs: Object.fromEntries(configs.map(({ name, value }) => [name, value]))
    }
  },

  async alter ({ topic, configs }) {
    const entries = Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: 0 }))
    await admin.incrementalAlterConfigs({
      resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs: entries }]
    })
  },

  grow: ({ topic, partitions }) =>
    admin.createPartitions({ topics: [{ name: topic, count: partitions, assignments: null }] }),

  async trim ({ topic, partition, offset }) {
    await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition, offset: BigInt(offset) }] }] })
  },

  delete: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  groups: async () => ({ groups: [...(await admin.listGroups()).keys()] }),

  async group ({ group }) {
    const told = (await admin.describeGroups({ groups: [group] })).get(group)
    return { state: told.state[0] + told.state.slice(1).toLowerCase(), members: told.members.size }
  },

  async committed ({ group, topic }) {
    const [{ topics }] = await admin.listConsumerGroupOffsets({ groups: [group] })
    const { partitions } = topics.find(({ name }) => name === topic)
    const pairs = partitions.map(p => [p.partitionIndex, Number(p.committedOffset)])
    return { offsets: Object.fromEntries(pairs) }
  },

  forget: ({ group }) => admin.deleteGroups({ groups: [group] }),

  async join ({ group, topic }) {
    member = consumerOf(group, { retries: true }) // for as long as a broker is away
    const tell = () => lines.assigned(
      member.assignments?.find(one => one.topic === topic)?.partitions ?? [])
    member.once('consumer:group:join', tell)
    member.on('consumer:group:rebalance', () => lines.assigned([]))
    const stream = await member.consume({
      topics: [topic],
      mode: MessagesStreamModes.COMMITTED,
      fallbackMode: MessagesStreamFallbackModes.EARLIEST
    })
    // A fetch that was under way when the group rebalanced still brings records of partitions that
    // went to others: what is had now is told when the next fetch is over.
    member.on('consumer:group:join', () => stream.once('fetch', tell))
    stream.on('data', async message => {
      await message.commit()
      lines.records([message.value])
    })
    stream.on('error', error => console.error(error))
  },

  leave: () => member.close(true)
}

function consumerOf (groupId, more) {
  const consumer = new Consumer({
    ...common,
    ...more,
    groupId,
    autocommit: false,
    sessionTimeout: 6000,
    rebalanceTimeout: 20000,
    heartbeatInterval: 500,
    maxWaitTime: 100,
    maxBytes: 8_000_000
  })
  consumer.on('error', error => console.error(error))
  return consumer
}

function codeOf (error) {
  if (Number.isInteger(error?.apiCode) && error.apiCode > 0) return error.apiCode
  for (const one of [...error?.errors ?? [], error?.cause]) {
    const code = one && codeOf(one)
    if (code) return code
  }
}

await lines.serve(operations, codeOf)
