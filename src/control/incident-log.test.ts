/** Incidents as control takes them in: durable before anything follows, rotated once, taken up again by the next control. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ManualClock } from '../base/index.ts'
import type { AssignmentStatus, IncidentSummary } from '../protocol/index.ts'
import type { Operation } from '../store/index.ts'
import { IncidentLog } from './incident-log.ts'
import type { IncidentRecord } from './incidents.ts'
import type { ControlState } from './state.ts'

/** A log over records that outlive it, and a state with one instance of `web` for each incident. */
function world(known = new Map<string, IncidentRecord>(), clock = new ManualClock(1000)) {
  const rotations: string[] = []
  const written: Operation[] = []
  const log = new IncidentLog({
    known,
    clock,
    write: async (operations) => void written.push(...operations),
    exclusive: (work) => work(),
    isConnected: () => true,
    async *askNode() {},
    async rotateAll(app, part) {
      rotations.push(`${app}/${part}`)
      return { started: ['key'], refused: [{ name: 'smtp', reason: 'its value comes from a person' }] }
    },
  })
  const stateWith = (...ids: readonly string[]): ControlState => {
    const incident = (id: string): IncidentSummary => ({
      id,
      wire: 'decoy',
      what: 'it read',
      timeMs: 1,
      state: 'frozen',
    })
    const status = (id: string): AssignmentStatus => ({
      id: `shop.web.${id}`,
      phase: 'unready',
      reason: null,
      restarts: 0,
      sinceMs: 0,
      endpoint: null,
      pid: null,
      memoryBytes: null,
      incident: incident(id),
    })
    const instance = (id: string) => ({ id: `shop.web.${id}`, app: 'shop', node: 'n1', part: { name: 'web' } })
    return {
      instances: new Map(ids.map((id) => [`shop.web.${id}`, instance(id)])),
      statuses: new Map(ids.map((id) => [`shop.web.${id}`, status(id)])),
    } as unknown as ControlState
  }
  return { log, clock, known, rotations, written, stateWith }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

suite('incidents in control', () => {
  test('one that is new is written down, its secrets are rotated once, and what came of it is told', async () => {
    const { log, known, rotations, written, stateWith } = world()
    await log.take(stateWith('web-1'))
    await log.take(stateWith('web-1'))
    await settled()
    await log.take(stateWith('web-1'))
    assert.deepEqual(rotations, ['shop/web'])
    assert.equal(written.length, 2)
    assert.equal(known.get('web-1')?.secrets?.text, 'rotating key; smtp is not: its value comes from a person')
  })

  test('whoever trips wires at will does not keep the secrets turning', async () => {
    const { log, clock, known, rotations, stateWith } = world()
    await log.take(stateWith('web-1'))
    await settled()
    await log.take(stateWith('web-1', 'web-2'))
    await settled()
    assert.equal(rotations.length, 1)
    assert.equal(known.get('web-2')?.secrets?.text, 'its secrets were rotated a moment ago')
    clock.advance(5 * 60_000)
    await log.take(stateWith('web-3'))
    await settled()
    assert.equal(rotations.length, 2)
  })

  test('a rotation that a control has not begun is taken up by the next', async () => {
    const record = { id: 'web-1', app: 'shop', part: 'web', instance: 'shop.web.1', node: 'n1' } as const
    const known = new Map([
      ['web-1', { ...record, wire: 'decoy', what: 'it read', timeMs: 1, frozen: true, secrets: null } as const],
    ])
    const { log, rotations, stateWith } = world(new Map<string, IncidentRecord>(known))
    await log.take(stateWith())
    await settled()
    assert.deepEqual(rotations, ['shop/web'])
  })

  test('what nobody knows is refused, and the list of the known ones is bounded', async () => {
    const { log, known, stateWith } = world()
    await assert.rejects(log.ask('shop', { kind: 'release', incident: 'web-9' }), { code: 'control.unknown-incident' })
    for (let i = 0; i < 520; i += 1) await log.take(stateWith(`web-${i}`))
    assert.ok(known.size <= 501, String(known.size))
  })
})
