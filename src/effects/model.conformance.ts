/**
 * Random histories of effects against a model that knows nothing of databases: a state for each key, and what the world has
 * seen. Held after every step: the ledger says what the model says; what is sent was called for, once at least; the
 * receiver has taken effect once at most; nothing was called for without a row.
 */
import assert from 'node:assert/strict'
import { isSteadError, seededRandom } from '../base/index.ts'
import type { Bench } from './conformance.ts'
import { compensate, decide, look, plan, run } from './effects.ts'
import type { EffectsDatabase, Send } from './effects.ts'
import type { EffectState } from './effect.ts'
import { notSent } from './errors.ts'
import { sweep } from './sweep.ts'

const keys = ['a', 'b', 'c'] as const
const steps = 40

interface Known {
  state: EffectState
  abandoned: boolean
}

interface World {
  readonly known: Map<string, Known>
  /** Calls by key, and the keys that took effect. */
  readonly calls: Map<string, number>
  readonly taken: Set<string>
  /** Keys that a person has said to be sent. */
  readonly said: Set<string>
}

type Fate = 'taken' | 'taken, answer lost' | 'lost' | 'refused'

/** A case that plays as many histories. */
export function modelCase(histories: number): (bench: Bench) => Promise<void> {
  return async ({ connection }) => {
    for (let history = 1; history <= histories; history += 1) {
      await connection.sql(`delete from ${connection.table}`)
      const random = seededRandom(history * 7919)
      const roll = (sides: number): number => ((random.bytes(2)[1] ?? 0) * 256 + (random.bytes(1)[0] ?? 0)) % sides
      const world: World = { known: new Map(), calls: new Map(), taken: new Set(), said: new Set() }
      const trace: string[] = []
      for (let step = 0; step < steps; step += 1) {
        const key = keys[roll(keys.length)] ?? 'a'
        await play({ connection }, world, key, roll, trace)
        await check(connection.db, world, `history ${history}: ${trace.join('; ')}`)
      }
    }
  }
}

async function play(
  { connection }: Pick<Bench, 'connection'>,
  world: World,
  key: string,
  roll: (sides: number) => number,
  trace: string[],
): Promise<void> {
  const { db, table } = connection
  const known = world.known.get(key)
  const fate = (['taken', 'taken, answer lost', 'lost', 'refused'] as const)[roll(4)] ?? 'taken'
  const possiblySent = roll(3) === 0 ? 'leave' : 'send-again'
  const move = roll(10)
  if (move <= 2) {
    const commit = roll(4) > 0
    trace.push(`plan ${key}${commit ? '' : ', rolled back'}`)
    await connection.sql('begin')
    const refused = await refusal(plan(db, { key, kind: 'mail', what: 'a mail', payload: { key } }))
    await connection.sql(commit && refused === null ? 'commit' : 'rollback')
    assert.equal(refused, known?.state === 'compensated' ? 'effects.key-taken' : null)
    if (!commit || refused !== null) return
    if (known === undefined) world.known.set(key, { state: 'planned', abandoned: false })
    else known.abandoned = false
  } else if (move <= 6) {
    trace.push(`run ${key}: ${fate}, ${possiblySent}`)
    const refused = await refusal(run(db, key, receiver(world, fate), { possiblySent }))
    assert.equal(refused, expectRun(known, fate, possiblySent, world, key))
  } else if (move === 7) {
    trace.push(`${key} is gone back from`)
    await connection.sql(`update ${table} set abandoned_by_generation = 2 where key = '${key}'`)
    if (known !== undefined) known.abandoned = true
  } else if (move === 8) {
    const was = roll(2) === 0 ? 'sent' : 'not-sent'
    trace.push(`decide ${key}: ${was}`)
    const refused = await refusal(decide(db, key, was))
    if (known === undefined) assert.equal(refused, 'effects.unknown-key')
    else if (known.state !== 'sending') assert.equal(refused, 'effects.nothing-to-decide')
    else {
      assert.equal(refused, null)
      known.state = was === 'sent' ? 'sent' : 'failed'
      if (was === 'sent') world.said.add(key)
    }
  } else if (roll(2) === 0) {
    trace.push(`compensate ${key}: ${fate}`)
    const refused = await refusal(compensate(db, key, receiver(world, fate)))
    const undo = `${key}:undo`
    if (known === undefined) assert.equal(refused, 'effects.unknown-key')
    else if (known.state === 'planned' || known.state === 'failed') assert.equal(refused, 'effects.nothing-to-undo')
    else if (known.state === 'compensated') assert.equal(refused, null)
    else {
      const undoing = world.known.get(undo) ?? { state: 'planned', abandoned: false }
      world.known.set(undo, undoing)
      undoing.abandoned = false
      assert.equal(refused, expectRun(undoing, fate, 'send-again', world, undo))
      if (undoing.state === 'sent') known.state = 'compensated'
    }
  } else {
    trace.push(`sweep: ${possiblySent}`)
    const handler = { send: receiver(world, 'taken'), possiblySent } as const
    await sweep(db, { mail: handler, 'mail:undo': handler })
    for (const [name, effect] of world.known) {
      if (effect.abandoned || effect.state === 'failed') continue
      if (expectRun(effect, 'taken', possiblySent, world, name) !== null) assert.fail(`sweep of ${name}`)
      const of = world.known.get(name.replace(':undo', ''))
      if (name.endsWith(':undo') && effect.state === 'sent' && of !== undefined) of.state = 'compensated'
    }
  }
}

/** What a run does to the model; the code of the error it ends with, or null. */
function expectRun(
  known: Known | undefined,
  fate: Fate,
  possiblySent: 'send-again' | 'leave',
  world: World,
  key: string,
): string | null {
  if (known === undefined) return 'effects.unknown-key'
  if (known.state === 'sent' || known.state === 'compensated') return null
  if (known.abandoned) return 'effects.abandoned'
  if (known.state === 'sending' && possiblySent === 'leave') return null
  assert.ok((world.calls.get(key) ?? 0) > 0, `${key} was to be called for`)
  known.state = fate === 'taken' ? 'sent' : fate === 'refused' ? 'failed' : 'sending'
  return fate === 'taken' ? null : fate === 'refused' ? 'effects.not-sent' : 'effects.possibly-sent'
}

/** A receiver that knows a key again, and to which this happens. */
function receiver(world: World, fate: Fate): Send {
  return async ({ key }) => {
    assert.ok(
      world.known.has(key) || world.known.has(key.replace(':undo', '')),
      `${key} was called for and was never planned`,
    )
    world.calls.set(key, (world.calls.get(key) ?? 0) + 1)
    if (fate === 'refused') throw notSent('refused')
    if (fate === 'lost') throw new Error('lost on the way')
    world.taken.add(key)
    if (fate === 'taken, answer lost') throw new Error('the answer is lost')
    return { receipt: key }
  }
}

async function check(db: EffectsDatabase, world: World, at: string): Promise<void> {
  for (const key of keys.flatMap((name) => [name, `${name}:undo`])) {
    const row = await look(db, key)
    const known = world.known.get(key)
    assert.deepEqual(
      row === null ? undefined : { state: row.state, abandoned: row.abandonedByGeneration !== null },
      known === undefined ? undefined : { ...known },
      `${key}, ${at}`,
    )
    if (row?.state === 'sent') assert.ok(world.taken.has(key) || world.said.has(key), `${key} is sent to nobody, ${at}`)
    if (row === null) assert.equal(world.calls.get(key) ?? 0, 0, `${key} was called for without a row, ${at}`)
  }
}

async function refusal(work: Promise<unknown>): Promise<string | null> {
  try {
    await work
    return null
  } catch (error) {
    if (isSteadError(error)) return error.code
    throw error
  }
}
