// The line protocol, for workers in JavaScript: requests in, answers and events out.

import { createInterface } from 'node:readline'

/** The library cannot do that; the message says why. */
export class Unsupported extends Error {}

/** The library answered with an error of Kafka's. */
export class Failed extends Error {
  constructor (kafkaCode, message) {
    super(message)
    this.kafkaCode = kafkaCode
  }
}

export const text = bytes => bytes == null ? null : Buffer.from(bytes).toString('base64')
export const data = line => line === null ? null : Buffer.from(line, 'base64')

/** Tells what a group member has now. */
export const assigned = partitions => say({ event: 'assigned', partitions })

/** Tells what a group member has read and committed. */
export const records = values => say({ event: 'records', values: values.map(text) })

// Whatever the library prints goes to the evidence, and only lines of the protocol to the driver.
const out = process.stdout.write.bind(process.stdout)
process.stdout.write = process.stderr.write.bind(process.stderr)

function say (line) {
  out(JSON.stringify(line) + '\n')
}

/** Answers until the input ends. `codeOf` finds Kafka's error code in an error of the library. */
export async function serve (operations, codeOf) {
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const { op, ...request } = JSON.parse(line)
    try {
      say({ ok: await operations[op](request) ?? {} })
    } catch (error) {
      console.error(error)
      if (error instanceof Unsupported) say({ unsupported: error.message })
      else say({ error: error.kafkaCode ?? codeOf(error) ?? null, text: String(error) })
    }
  }
  process.exit(0)
}
