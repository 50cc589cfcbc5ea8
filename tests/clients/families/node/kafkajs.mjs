// Worker of family kafkajs. It brings gzip itself; snappy comes from its sister package, lz4 from
// lz4-napi (kafkajs-lz4 needs a native module that no longer builds), zstd from Node.

import { createRequire } from 'node:module'
import zlib from 'node:zlib'
import { promisify } from 'node:util'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'
import * as lines from './lines.mjs'

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = kafkajs
const require = createRequire(import.meta.url)

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: encoder => promisify(zlib.zstdCompress)(encoder.buffer),
  decompress: promisify(zlib.zstdDecompress)
})
const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

const kafka = new Kafka({
  clientId: 'families',
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  logCreator: () => entry => console.error(JSON.stringify(entry)),
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 5 }
})
const admin = kafka.admin()
const producer = kafka.producer({ allowAutoTopicCreation: false })
await Promise.all([admin.connect(), producer.connect()])
let member
let readers = 0

const operations = {
  hello: () => ({ version: require('kafkajs/package.json').version }),

  async produce ({ topic, codec, records }) {
    const messages = records.map(one => ({
      key: lines.data(one.key),
      value: lines.data(one.value),
      partition: one.partition,
      headers: headersOf(one.headers),
      ...one.timestamp === null ? {} : { timestamp: String(one.timestamp) }
    }))
    const told = await producer.send({ topic, compression: codecs[codec], messages })
    const next = new Map(told.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
    const offsets = records.map(({ partition }) => {
      const offset = next.get(partition)
      next.set(partition, offset + 1)
      return offset
    })
    return { offsets }
  },

  /** kafkajs reads only as a group. */
  async read ({ topic, partition, from, count }) {
    const consumer = consumerOf(`reader-${process.pid}-${readers++}`)
    const got = []
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition: of, message }) => {
          if (of === partition && got.length < count && Number(message.offset) >= from) got.push(message)
          if (got.length === count) resolve()
        }
      }).catch(reject)
      consumer.seek({ topic, partition, offset: String(from) })
    }).finally(() => consumer.disconnect())
    return {
      records: got.map(({ offset, timestamp, key, value, headers }) => ({
        offset: Number(offset),
        timestamp: Number(timestamp),
        key: lines.text(key),
        value: lines.text(value),
        headers: Object.entries(headers ?? {}).flatMap(([name, values]) =>
          [values].flat().map(value => [name, lines.text(value)]))
      }))
    }
  },

  async offsets ({ topic, partition, time }) {
    const of = told => told.find(one => one.partition === partition)
    const { low, high } = of(await admin.fetchTopicOffsets(topic))
    const { offset } = of(await admin.fetchTopicOffsetsByTimestamp(topic, time))
    return { first: Number(low), end: Number(high), at: Number(offset) }
  },

  async create ({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }]
    const made = await admin.createTopics({ topics })
    if (!made) throw new lines.Failed(36, 'createTopics answered false')
  },

  topics: async () => ({ topics: await admin.listTopics() }),

  async describe ({ topic, keys }) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: keys }]
    const told = await admin.describeConfigs({ resources, includeSynonyms: false })
    return {
      partitions: topics[0].partitions.length,
      configs: Object.fromEntries(
        told.resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue]))
    }
  },

  async alter ({ topic, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
    await admin.alterConfigs({ validateOnly: false, resources })
  },

  async grow ({ topic, partitions }) {
    await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] })
  },

  async trim ({ topic, partition, offset }) {
    await admin.fetchTopicOffsets(topic) // or it does not know the leader
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
  },

  delete: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  async groups () {
    const { groups } = await admin.listGroups()
    return { groups: groups.map(({ groupId }) => groupId) }
  },

  async group ({ group }) {
    const { groups: [{ state, members }] } = await admin.describeGroups([group])
    return { state, members: members.length }
  },

  async committed ({ group, topic }) {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return { offsets: Object.fromEntries(partitions.map(p => [p.partition, Number(p.offset)])) }
  },

  async forget ({ group }) {
    await admin.deleteGroups([group])
  },

  async join ({ group, topic }) {
    member = consumerOf(group)
    const { GROUP_JOIN, REBALANCING } = member.events
    member.on(GROUP_JOIN, ({ payload }) => lines.assigned(payload.memberAssignment[topic] ?? []))
    member.on(REBALANCING, () => lines.assigned([]))
    await member.connect()
    await member.subscribe({ topic, fromBeginning: true })
    await member.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const offset = String(Number(batch.lastOffset()) + 1)
        await member.commitOffsets([{ topic, partition: batch.partition, offset }])
        lines.records(batch.messages.map(({ value }) => value))
      }
    })
  },

  leave: () => member.disconnect()
}

function consumerOf (groupId) {
  return kafka.consumer({
    groupId,
    sessionTimeout: 6000,
    heartbeatInterval: 500,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 8_000_000
  })
}

/** A header that comes more than once is an array. */
function headersOf (pairs) {
  const headers = {}
  for (const [name, value] of pairs) (headers[name] ??= []).push(lines.data(value))
  return headers
}

function codeOf (error) {
  for (let one = error; one; one = one.cause ?? one.originalError) {
    if (one.errors?.length) one = one.errors[0]
    if (one.partitions?.length) one = one.partitions[0].error
    if (one.groups?.length) return one.groups[0].errorCode
    if (Number.isInteger(one.code) && one.code > 0) return one.code
  }
}

await lines.serve(operations, codeOf)
