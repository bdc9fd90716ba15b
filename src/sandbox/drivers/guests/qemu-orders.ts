/**
 * What QEMU is told to do for each order to a machine, and how its answers are read.
 *
 * Invariants: a name that is not kept is never asked for, because QEMU stops the machine before it looks; a name that is kept
 * is never written over; a machine that could not go back does not stay as it is.
 */
import { messageOf, SteadError } from '../../../base/index.ts'
import type { Json } from '../../../base/index.ts'
import type { MachineSnapshot } from '../../driver.ts'
import type { MachineOrder } from './monitor.ts'
import { longOrderTimeoutMs } from './qmp.ts'
import type { Qmp } from './qmp.ts'

/** States that one machine keeps at most: each holds a memory on the disk. */
export const snapshotsMax: number = 16

const commands = { pause: 'stop', resume: 'cont', 'power-down': 'system_powerdown' } as const

/** Obeys; answers the kept states when these were asked for. Throws `sandbox.machine-refused`, `sandbox.machine-silent`. */
export async function obey(qmp: Qmp, order: MachineOrder): Promise<readonly MachineSnapshot[]> {
  switch (order.kind) {
    case 'pause':
    case 'resume':
    case 'power-down':
      await qmp.execute(commands[order.kind])
      return []
    case 'kept':
      return keptIn(await qmp.execute('query-block'))
    case 'keep':
      await keep(qmp, order.name)
      return []
    case 'go-back':
      await need(qmp, order.name)
      await goBack(qmp, order.name)
      return []
    case 'drop':
      await need(qmp, order.name)
      await say(qmp, `delvm ${order.name}`)
      return []
  }
}

/** Whether a stream to this port is open that the guest has taken. Throws as `obey` does. */
export async function accepts(qmp: Qmp, port: number): Promise<boolean> {
  const streams = await qmp.execute('human-monitor-command', { 'command-line': 'info usernet' })
  return typeof streams === 'string' && new RegExp(`TCP\\[ESTABLISHED\\]\\s+\\d+\\s+\\S+\\s+${port}\\s`).test(streams)
}

async function keep(qmp: Qmp, name: string): Promise<void> {
  const kept = keptIn(await qmp.execute('query-block'))
  if (kept.some((one) => one.name === name))
    throw refused(`The machine has a snapshot called ${name} already.`, 'Forget it first, or take another name.')
  if (kept.length >= snapshotsMax) {
    const hint = `Forget one first; the oldest is ${kept[0]?.name}.`
    throw refused(`The machine keeps ${kept.length} snapshots, and ${snapshotsMax} are the most.`, hint)
  }
  await say(qmp, `savevm ${name}`)
}

async function need(qmp: Qmp, name: string): Promise<void> {
  const kept = keptIn(await qmp.execute('query-block')).map((one) => one.name)
  if (kept.includes(name)) return
  const hint = kept.length === 0 ? 'It has none.' : `It has ${kept.join(', ')}.`
  throw refused(`The machine has no snapshot called ${name}.`, hint)
}

async function goBack(qmp: Qmp, name: string): Promise<void> {
  try {
    await say(qmp, `loadvm ${name}`)
  } catch (error) {
    // The disk is as it was then; the memory is nobody's. It ends, and whoever runs it starts it again.
    await qmp.execute('quit').catch(() => undefined)
    const hint = 'Its memory or processors are not those it was taken with, or another QEMU took it.'
    throw refused(`The machine has its disk of ${name}, and boots from it: ${messageOf(error)}`, hint)
  }
}

/** In the words of a person at its monitor, which has what the protocol has not. */
async function say(qmp: Qmp, line: string): Promise<void> {
  const said = await qmp.execute('human-monitor-command', { 'command-line': line }, longOrderTimeoutMs)
  const text = typeof said === 'string' ? said.trim() : ''
  if (/^Error/m.test(text)) throw refused(`The machine refused ${line}: ${text.replace(/^Error: /, '')}`)
}

/** The states that the disk of a machine holds, oldest first. */
function keptIn(blocks: Json): readonly MachineSnapshot[] {
  const snapshots = listOf(blocks).flatMap((block) => listOf(at(block, 'inserted', 'image', 'snapshots')))
  return snapshots
    .flatMap((one) => {
      const [name, seconds, memoryBytes] = [at(one, 'name'), at(one, 'date-sec'), at(one, 'vm-state-size')]
      if (typeof name !== 'string' || typeof seconds !== 'number' || typeof memoryBytes !== 'number') return []
      return [{ name, timeMs: seconds * 1000, memoryBytes }]
    })
    .toSorted((a, b) => a.timeMs - b.timeMs)
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

function at(value: Json | undefined, ...path: readonly string[]): Json | undefined {
  return path.reduce<Json | undefined>((found, key) => (isObject(found) ? found[key] : undefined), value)
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refused(message: string, hint?: string): SteadError {
  return new SteadError({ code: 'sandbox.machine-refused', message, ...(hint === undefined ? {} : { hint }) })
}
