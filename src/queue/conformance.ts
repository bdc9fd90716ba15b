/**
 * The suite that every driver of queues passes, ours and others': it registers node:test cases for a factory of places. A case
 * says what it needs; a driver passes it natively, or under the guarantee it declares, or refuses it, and then the suite
 * asserts that declaring the need is refused, and how. Nothing in it depends on speed.
 */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { Capabilities, Capability } from './capability.ts'
import { chaosCases } from './chaos.conformance.ts'
import { crashCases } from './crash.conformance.ts'
import { flowCases } from './flow.conformance.ts'
import { inputCases } from './input.conformance.ts'
import { orderCases } from './order.conformance.ts'
import type { Queues, QueuesOptions } from './queues.ts'
import { sendCases } from './send.conformance.ts'
import { settleCases } from './settle.conformance.ts'

/** Where one driver's queues live: a file, a server. Disposing of it removes it. */
export interface QueuePlace extends AsyncDisposable {
  /** Opens the queues: empty at first, later with what was left there. Shared places are opened several times at once. */
  open(options?: QueuesOptions): Promise<Queues>
  /** How another process opens them: it calls the export `name` of `module` (a file URL) with `options`. Null: it cannot. */
  readonly elsewhere: { readonly module: string; readonly name: string; readonly options: Json } | null
  /** Kills the server with -9 and starts it again on its data. Null where there is no server. */
  readonly restart: (() => Promise<void>) | null
}

/** What the cases are run against. */
export interface QueueSubject {
  readonly name: string
  /** A place where a queue is full after so many messages, if the driver can be told so. */
  makePlace(messagesMax: number): Promise<QueuePlace>
  /** Whether several processes can open a place at once. */
  readonly shared: boolean
  /** Cases to leave out, by their name, each with the reason. */
  readonly skip?: Readonly<Record<string, string>>
  /** Leaves out what must run by itself and takes long: the cases that kill, but for short trouble where there is some. Another run has them. */
  readonly brief?: boolean
  /** How long the last cases make trouble; 0: not at all where it is brief, else as shortly as can be. */
  readonly chaosMs: number
}

/** One case; the place is new and is disposed of afterwards. */
export interface QueueCase {
  readonly name: string
  readonly needs: readonly Capability[]
  /** What else the place must have. */
  readonly wants?: 'process' | 'restart'
  readonly messagesMax?: number
  /** Disturbs others that run at the same time: it runs by itself. */
  readonly alone?: boolean
  run(place: QueuePlace, subject: QueueSubject): Promise<void>
}

/** How a driver passed a case. */
type Passed = 'native' | 'emulated' | 'refused' | 'left out'

/** Registers the suite for one driver. With `STEAD_QUEUE_MATRIX` set to a folder, nothing is left
 * out, trouble is short, and what passed and how is written there. */
export function queueConformance(subject: QueueSubject): void {
  const cases: readonly QueueCase[] = [
    ...sendCases,
    ...inputCases,
    ...settleCases,
    ...orderCases,
    ...flowCases,
    ...crashCases,
    ...chaosCases,
  ]
  const unknown = Object.keys(subject.skip ?? {}).filter((name) => !cases.some((item) => item.name === name))
  if (unknown.length > 0) throw new Error(`no such case to skip: ${unknown.join(', ')}`)
  const matrix: Record<string, Passed> = {}
  const matrixFolder = process.env['STEAD_QUEUE_MATRIX']
  let about: About | undefined
  // Most cases wait most of the time, so they wait together.
  const register = (chosen: readonly QueueCase[]): void => {
    for (const item of chosen) {
      const troubles = chaosCases.includes(item) && subject.chaosMs > 0
      const late =
        subject.brief === true && item.alone === true && !troubles && matrixFolder === undefined
          ? 'takes long: npm run test:full has it'
          : false
      test(item.name, { skip: subject.skip?.[item.name] ?? late }, async (context) => {
        await using place = await subject.makePlace(item.messagesMax ?? 1_000_000)
        about ??= await look(place)
        const { capabilities } = about
        const refusing = item.needs.find((name) => capabilities[name].kind === 'refused')
        if (refusing !== undefined) {
          await assertRefused(place, item.needs, refusing)
          matrix[item.name] = 'refused'
          return
        }
        const lacks =
          (item.wants === 'process' && place.elsewhere === null) || (item.wants === 'restart' && place.restart === null)
        if (lacks) {
          matrix[item.name] = 'left out'
          return context.skip(
            `${subject.name} has no ${item.wants === 'restart' ? 'server to restart' : 'other process'}`,
          )
        }
        await item.run(place, matrixFolder === undefined ? subject : { ...subject, chaosMs: 0 })
        matrix[item.name] = item.needs.some((name) => capabilities[name].kind === 'emulated') ? 'emulated' : 'native'
      })
    }
  }
  suite(`queue conformance: ${subject.name}`, () => {
    suite('together', { concurrency: 12 }, () => register(cases.filter(({ alone = false }) => !alone)))
    suite('one by one', () => register(cases.filter(({ alone = false }) => alone)))
    after(() => {
      const folder = matrixFolder
      if (folder === undefined || about === undefined) return
      mkdirSync(folder, { recursive: true })
      const text = JSON.stringify({ name: subject.name, ...about, matrix }, null, 2)
      writeFileSync(join(folder, `${subject.name.replaceAll(/[^a-z0-9.]+/gi, '-')}.json`), text)
    })
  })
}

interface About {
  readonly server: string
  readonly capabilities: Capabilities
}

async function look(place: QueuePlace): Promise<About> {
  await using queues = await place.open()
  return { server: queues.server, capabilities: queues.capabilities() }
}

/** A driver that cannot do it says so when the queue is declared: what is missing, why, and what to do instead. */
async function assertRefused(place: QueuePlace, needs: readonly Capability[], missing: Capability): Promise<void> {
  await using queues = await place.open()
  await assert.rejects(queues.declare('refused', jsonCodec, { needs }), (error) => {
    assert.ok(isSteadError(error) && error.code === 'queue.unsupported', String(error))
    assert.ok(error.message.includes(missing), error.message)
    assert.ok((error.hint ?? '').length > 0, 'it does not say what to do instead')
    return true
  })
}
