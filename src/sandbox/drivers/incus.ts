/**
 * The sandbox driver `incus`: programs in containers of an Incus server on this machine, or of LXD, which it comes from.
 *
 * What the server can do is found out by trying: one container is started and frozen when the driver is made, so that what a
 * host cannot do is a capability with its reason and no surprise of a later start.
 */
import { existsSync } from 'node:fs'
import { messageOf, SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { SandboxDriver, SandboxLimits } from '../driver.ts'
import { GuestDriver } from './guest-driver.ts'
import type { GuestDriverOptions } from './guest-driver.ts'
import { fields, IncusApi, IncusRefusal } from './incus/api.ts'
import type { IncusAddress } from './incus/api.ts'
import { containerImage } from './incus/image.ts'
import { allLimits, limitsOf } from './incus/limits.ts'
import type { LimitsHeld } from './incus/limits.ts'
import { firstBytes, firstProcesses, IncusMonitor, rootLinks, trialContainer } from './incus/monitor.ts'
import type { IncusServer } from './incus/monitor.ts'

/** Where servers listen whose packages are installed. */
const usualSockets: readonly string[] = [
  '/var/lib/incus/unix.socket',
  '/run/incus/unix.socket',
  '/var/lib/lxd/unix.socket',
  '/var/snap/lxd/common/lxd/unix.socket',
]

const trialLimits: SandboxLimits = { memoryBytes: 2 ** 26, cpuCores: 0.5, pidsMax: 16, tmpBytes: null }
const noLimits: SandboxLimits = { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null }

export interface IncusDriverOptions extends Pick<GuestDriverOptions, 'clock' | 'groups' | 'logger'> {
  /** Left out: the socket of a server that is installed here. */
  readonly address?: IncusAddress
  /** Left out: the server's default project. */
  readonly project?: string
  /** The storage that containers stand on; left out: the first there is. */
  readonly pool?: string
}

/** Makes the driver after asking the server and trying a container. Throws `sandbox.unavailable`. */
export async function incusDriver(options: IncusDriverOptions): Promise<SandboxDriver> {
  if (process.arch !== 'x64' || process.platform !== 'linux' || process.getuid?.() !== 0)
    throw unavailable('Containers of a server need Linux of x86_64 and root.', 'Use the bubblewrap driver.')
  const address = options.address ?? usualAddress()
  const api = new IncusApi(address, options.project ?? null)
  const { clock, groups, logger } = options
  const server = await lookAtServer(api, options.pool ?? null, clock)
  const around = { clock, groups, ...(logger !== undefined && { logger }) }
  return new GuestDriver(new IncusMonitor(server, clock), 'strict', around)
}

/**
 * The driver for what runs already while its server does not answer: it finds programs, their output and their exits, which do
 * not depend on the server, and starts none.
 */
export function incusDriverWithoutServer(options: IncusDriverOptions): SandboxDriver {
  const { clock, groups, logger, project = null } = options
  const address = options.address ?? { socketPath: usualSockets.find((path) => existsSync(path)) ?? '' }
  const image = containerImage('x86_64', rootLinks())
  const [api, reason] = [new IncusApi(address, project), 'it does not answer']
  const known = { api, image, name: 'the server', pool: '', limits: allLimits(reason), noFreeze: reason, weaker: [] }
  return new GuestDriver(new IncusMonitor(known, clock), 'strict', {
    clock,
    groups,
    ...(logger !== undefined && { logger }),
  })
}

function usualAddress(): IncusAddress {
  const socketPath = usualSockets.find((path) => existsSync(path))
  if (socketPath !== undefined) return { socketPath }
  throw unavailable(
    'There is no Incus or LXD server on this machine.',
    'Install incus (or lxd) and run `incus admin init --minimal`, or say where it listens.',
  )
}

async function lookAtServer(api: IncusApi, wanted: string | null, clock: Clock): Promise<IncusServer> {
  const said = fields(await api.get('/1.0'))
  const environment = fields(said['environment'])
  const name = [environment['server'], environment['server_version']]
    .filter((word) => typeof word === 'string')
    .join(' ')
  if (said['auth'] !== 'trusted')
    throw unavailable(
      `${name} at ${api.name} does not trust this client.`,
      'Add its certificate: incus config trust add.',
    )
  const drivers = String(environment['driver']).split(' | ')
  if (!drivers.includes('lxc')) throw unavailable(`${name} runs no containers here.`, 'Its log says why.')
  const pools = fields({ list: await api.get('/1.0/storage-pools') })['list']
  const names = Array.isArray(pools) ? pools.map((path) => String(path).split('/').at(-1) ?? '') : []
  const pool = wanted ?? names[0]
  if (pool === undefined || !names.includes(pool))
    throw unavailable(
      `${name} has no storage${wanted === null ? '' : ` called ${wanted}`}.`,
      'Make one: incus storage create default dir.',
    )
  const image = containerImage('x86_64', rootLinks())
  if ((await api.find(`/1.0/images/${image.fingerprint}`)) === null) await api.post('/1.0/images', image.bytes)
  const found = { api, name, pool, image }
  return {
    ...found,
    ...(await tryContainer(found, `stead-trial-${process.pid}-${clock.nowMs().toString(36)}`)),
    weaker: drivers.includes('qemu')
      ? []
      : [`${name} runs no virtual machines here, only containers, which share the kernel of the host`],
  }
}

/** Starts one, and freezes it: with limits, or with each of them alone where that fails. Throws `sandbox.unavailable`. */
async function tryContainer(
  server: Pick<IncusServer, 'api' | 'name' | 'pool' | 'image'>,
  trial: string,
): Promise<Pick<IncusServer, 'limits' | 'noFreeze'>> {
  const all = await tryOne(server, `${trial}-all`, trialLimits)
  if (all.noStart === null) return { limits: all.limits, noFreeze: all.noFreeze }
  const plain = await tryOne(server, `${trial}-none`, noLimits)
  if (plain.noStart !== null)
    throw unavailable(`${server.name} could not start a container: ${plain.noStart}.`, 'Its log says more.')
  const alone = async (kind: keyof LimitsHeld, limit: keyof SandboxLimits): Promise<string | null> => {
    const { noStart, limits } = await tryOne(server, `${trial}-${kind}`, { ...noLimits, [limit]: trialLimits[limit] })
    return noStart ?? limits[kind]
  }
  const memory = await alone('memory', 'memoryBytes')
  const cpu = await alone('cpu', 'cpuCores')
  return { limits: { memory, cpu, pids: await alone('pids', 'pidsMax') }, noFreeze: plain.noFreeze }
}

interface Tried {
  /** Why it could not be started; null: it was. */
  readonly noStart: string | null
  readonly limits: LimitsHeld
  readonly noFreeze: string | null
}

async function tryOne(
  server: Pick<IncusServer, 'api' | 'pool' | 'image'>,
  name: string,
  limits: SandboxLimits,
): Promise<Tried> {
  const { api } = server
  const path = `/1.0/instances/${name}`
  const change = (action: string): Promise<unknown> => api.put(`${path}/state`, { action, timeout: 30, force: true })
  const refusal = (error: unknown): string => {
    if (error instanceof IncusRefusal) return messageOf(error)
    throw error
  }
  const notStarted = (noStart: string): Tried => ({ noStart, limits: allLimits(null), noFreeze: null })
  try {
    await api.post('/1.0/instances', { name, ...trialContainer(server, limits) })
    const noStart = await change('start').then(() => null, refusal)
    if (noStart !== null) return notStarted(noStart)
    const { memoryBytes, cpuCores, pidsMax, tmpBytes } = limits
    const held = limitsOf(Number(fields(await api.get(`${path}/state`))['pid']), {
      memoryBytes: memoryBytes === null ? null : memoryBytes + firstBytes,
      pidsMax: pidsMax === null ? null : pidsMax + firstProcesses,
      cpuCores,
      tmpBytes,
    })
    const noFreeze = await change('freeze').then(() => null, refusal)
    if (noFreeze === null) await change('unfreeze')
    return { noStart: null, limits: held, noFreeze }
  } catch (error) {
    return notStarted(refusal(error))
  } finally {
    await change('stop').catch(() => undefined)
    await api.delete(path).catch(() => undefined)
  }
}

function unavailable(message: string, hint: string): SteadError {
  return new SteadError({ code: 'sandbox.unavailable', message, hint })
}
