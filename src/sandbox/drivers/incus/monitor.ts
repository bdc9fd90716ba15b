/**
 * Containers of an Incus server as guests: the server makes and runs them, the sandbox around only waits: it keeps the output,
 * which comes through a pipe, and the exit.
 *
 * Invariants: a container is asked for only when what keeps its output waits; it is gone from the server before its end is
 * told; it stands in the network of its place, and its root is the workload's user on the host.
 */
import { existsSync, lstatSync } from 'node:fs'
import { basename } from 'node:path'
import type { Duplex } from 'node:stream'
import { SteadError, sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { MachineSnapshot, SandboxCapabilities, SandboxSpec, SandboxUsage, Support } from '../../driver.ts'
import { filterOf, lookAtHost, madeRoot } from '../bubblewrap.ts'
import { place, shareWith } from '../guests/config.ts'
import type { GuestShare } from '../guests/config.ts'
import { controls, reachPipes } from '../guests/controls.ts'
import type { Elsewhere, MachineOrder, MeetingPlace, Monitor } from '../guests/monitor.ts'
import { processes } from '../processes.ts'
import { waitUntil } from '../wait.ts'
import { fields, IncusRefusal } from './api.ts'
import type { IncusApi } from './api.ts'
import type { ContainerImage, RootLink } from './image.ts'
import type { LimitsHeld } from './limits.ts'

const mebibyte = 2 ** 20
/** What the first program and those beside the program need of the container's memory and processes. */
export const firstBytes: number = 16 * mebibyte
export const firstProcesses = 1
const readyTimeoutMs = 30_000
const endTimeoutMs = 30_000
const lookEveryMs = 20
const cpuPeriodMs = 100

/** What was found out about a server. */
export interface IncusServer {
  readonly api: IncusApi
  /** As it calls itself, with its version. */
  readonly name: string
  readonly pool: string
  readonly image: ContainerImage
  readonly limits: LimitsHeld
  /** Why it cannot freeze; null where it can. */
  readonly noFreeze: string | null
  /** What else is weaker. */
  readonly weaker: readonly string[]
}

/** Links of the container's root into the host's programs. */
export function rootLinks(): readonly RootLink[] {
  const { systemDirectories } = lookAtHost()
  return [
    { path: '/usr', linkTo: 'trees/usr' },
    ...systemDirectories
      .filter(({ path }) => path !== '/sbin')
      .map(({ path, linkTo }) => ({ path, linkTo: linkTo ?? `trees${path}` })),
  ]
}

/** What those links lead to. */
function hostPrograms(): Readonly<Record<string, Disk>> {
  const { systemDirectories } = lookAtHost()
  const paths = ['/usr', ...systemDirectories.flatMap(({ path, linkTo }) => (linkTo === null ? [path] : []))]
  return Object.fromEntries(
    paths.map((path, index) => [`programs${index}`, { source: path, path: `/trees${path}`, access: 'read-only' }]),
  )
}

/** A container that waits for nothing, with the limits that programs are given; to find out what a server can do. */
export function trialContainer(
  { pool, image }: Pick<IncusServer, 'pool' | 'image'>,
  limits: SandboxSpec['limits'],
): object {
  return containerOf({
    pool,
    image,
    config: { ...limitConfig(limits), 'raw.lxc': `${rawOf(null)}\nlxc.init.cmd = /bin/sleep 60` },
    disks: hostPrograms(),
  })
}

export class IncusMonitor implements Monitor {
  readonly name: string = 'incus'
  readonly devices: readonly string[] = []
  /** It stands in the network of its place itself. */
  readonly accepts: null = null
  readonly #server: IncusServer
  readonly #clock: Clock
  /** What is shared with a container, from its start being asked for until it is begun. */
  readonly #shares = new Map<string, GuestShare>()

  constructor(server: IncusServer, clock: Clock) {
    this.#server = server
    this.#clock = clock
  }

  capabilities(around: SandboxCapabilities): SandboxCapabilities {
    const { limits, noFreeze, weaker } = this.#server
    const words = { memory: 'limits of memory', cpu: 'limits of CPU', pids: 'limits of processes' } as const
    const lost = (['memory', 'cpu', 'pids'] as const).flatMap((kind) =>
      limits[kind] === null ? [] : [`${words[kind]} are refused: the server cannot hold them here: ${limits[kind]}`],
    )
    const held = (reason: string | null): Support => (reason === null ? 'native' : 'refused')
    return {
      ...around,
      // The groups are the server's.
      bestEffortCpu: 'refused',
      deadlineCpu: 'refused',
      fifoCpu: 'refused',
      devices: 'refused',
      isolation: 'native',
      memoryLimit: held(limits.memory),
      cpuLimit: held(limits.cpu),
      pidsLimit: held(limits.pids),
      tmpLimit: 'native',
      freeze: held(noFreeze),
      exec: 'native',
      root: 'refused',
      users: 'refused',
      container: 'native',
      weaker: [
        ...lost,
        ...(noFreeze === null ? [] : [`freezing is refused: the server cannot do it here: ${noFreeze}`]),
        'a root of its own is refused: a container cannot be shown the layers of an image as its own',
        ...weaker,
        ...around.weaker,
      ],
    }
  }

  async prepare(): Promise<void> {
    const { api, image } = this.#server
    if ((await api.find(`/1.0/images/${image.fingerprint}`)) === null) await api.post('/1.0/images', image.bytes)
  }

  around(spec: SandboxSpec, at: MeetingPlace): SandboxSpec {
    const filter = filterOf(spec)
    const share = shareWith(spec, {
      host: lookAtHost(),
      madeRoot,
      filter: filter === null ? null : Buffer.from(filter).toString('hex'),
      load: [],
      nameServer: null,
    })
    this.#shares.set(at.directory, share)
    const { isolation: _container, ports: _reachedAnyway, ...common } = spec
    return {
      ...common,
      argv: ['/bin/sh', '-c', waiter],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/',
      mounts: [{ source: at.directory, target: `${place}/control`, access: 'read-write' }],
      files: share.files,
      limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: mebibyte },
    }
  }

  connect(at: MeetingPlace): Promise<Duplex | null> {
    return Promise.resolve(reachPipes(at.directory, at.hostUid))
  }

  readonly order = async (at: MeetingPlace, order: MachineOrder): Promise<readonly MachineSnapshot[]> => {
    if (order.kind === 'pause' || order.kind === 'resume')
      await this.#change(at, order.kind === 'pause' ? 'freeze' : 'unfreeze')
    return []
  }

  forget(at: MeetingPlace): void {
    this.#shares.delete(at.directory)
  }

  readonly elsewhere: Elsewhere = {
    begin: async (spec, at, around) => {
      const share = this.#shares.get(at.directory)
      if (share === undefined) throw new Error('a container is begun before it was asked for')
      this.#shares.delete(at.directory)
      await this.#until(spec.id, 'what keeps its output does not wait', () =>
        existsSync(`${at.directory}/${controls.exit}`),
      )
      const { api } = this.#server
      await api.post('/1.0/instances', this.#container(spec, at, share, around.pid)).catch(this.#refused(spec))
      await this.#change(at, 'start').catch(this.#refused(spec))
      // From now on it answers, or has ended.
      const ready = (): boolean =>
        (lstatSync(`${at.directory}/${controls.ready}`, { throwIfNoEntry: false })?.size ?? 0) > 0
      await this.#until(spec.id, 'its first program did not begin', () => ready() || around.isOver())
    },
    find: async (at) => {
      const state = fields(await this.#server.api.find(`${pathOf(at)}/state`))
      const init = Number(state['pid'])
      // The program is what the container's first has started before all else.
      return state['status'] === 'Stopped' || !(init > 0) ? null : { init, program: firstBelow(init) }
    },
    end: async (at) => {
      const { api } = this.#server
      const deadlineMs = this.#clock.monotonicMs() + endTimeoutMs
      for (;;) {
        const state = await api.find(`${pathOf(at)}/state`)
        if (state === null) return
        // What has stopped removes itself, and refuses everything while it does.
        const refused =
          fields(state)['status'] === 'Stopped'
            ? await api.delete(pathOf(at)).catch(refusalOf)
            : await this.#change(at, 'stop').catch(refusalOf)
        if (this.#clock.monotonicMs() > deadlineMs)
          throw refused instanceof IncusRefusal ? refused : new IncusRefusal(409, `${nameOf(at)} does not go away`)
        await sleep(this.#clock, lookEveryMs)
      }
    },
    usage: async (at) => {
      const state = fields(await this.#server.api.find(`${pathOf(at)}/state`))
      return usageOf(state)
    },
  }

  ways(_at: MeetingPlace, id: string): ReturnType<Monitor['ways']> {
    const refuse = (what: string): never => {
      throw new SteadError({
        code: 'sandbox.refused',
        message: `A container has no kernel of its own, so ${id} has no ${what}.`,
        hint: 'Use the vm driver.',
      })
    }
    return {
      console: () => refuse('console of it'),
      get debugStub(): never {
        return refuse('debugger for it')
      },
      debugger: () => refuse('debugger for it'),
    }
  }

  #container(spec: SandboxSpec, at: MeetingPlace, share: GuestShare, netPid: number): object {
    const disks = share.mounts.map(
      ({ source, target, access }, index) =>
        [`disk${index}`, { source, path: target.slice(place.length), access }] as const,
    )
    return {
      name: nameOf(at),
      ...containerOf({
        ...this.#server,
        config: {
          ...limitConfig(spec.limits),
          'raw.idmap': `both ${spec.hostUid} 0`,
          'raw.lxc': rawOf(netPid),
          'user.stead': spec.id,
        },
        disks: {
          control: { source: at.directory, path: '/control', access: 'read-write' },
          ...Object.fromEntries(disks),
        },
      }),
    }
  }

  async #change(at: MeetingPlace, action: string): Promise<void> {
    await this.#server.api.put(`${pathOf(at)}/state`, { action, timeout: 30, force: true })
  }

  async #until(id: string, late: string, done: () => boolean): Promise<void> {
    if (!(await waitUntil(this.#clock, readyTimeoutMs, done)))
      throw startFailed(id, `${late} within ${readyTimeoutMs} ms`, null)
  }

  #refused({ id, hostUid }: SandboxSpec): (error: unknown) => never {
    return (error) => {
      if (!(error instanceof IncusRefusal)) throw error
      const mapped = `root:${hostUid}:1`
      throw startFailed(
        id,
        `${this.#server.name} refused it: ${error.message}`,
        `The server’s own log of it says more. Its user must be one that root may map: see that /etc/subuid and /etc/subgid have ${mapped}, or a range around it.`,
      )
    }
  }
}

function refusalOf(error: unknown): IncusRefusal {
  if (error instanceof IncusRefusal) return error
  throw error
}

/** A directory or file of the host in a container. */
interface Disk {
  readonly source: string
  readonly path: string
  readonly access: 'read-only' | 'read-write'
}

/** What the server is asked for; it removes itself when it stops. */
function containerOf({
  pool,
  image,
  config,
  disks,
}: Pick<IncusServer, 'pool' | 'image'> & {
  readonly config: Readonly<Record<string, string>>
  readonly disks: Readonly<Record<string, Disk>>
}): object {
  const mounted = Object.entries(disks).map(([name, { source, path, access }]) => [
    name,
    { type: 'disk', source, path, readonly: String(access === 'read-only') },
  ])
  return {
    type: 'container',
    ephemeral: true,
    profiles: [],
    source: { type: 'image', fingerprint: image.fingerprint },
    config: { 'boot.autostart': 'false', ...config },
    devices: { root: { type: 'disk', path: '/', pool }, ...Object.fromEntries(mounted) },
  }
}

function limitConfig({ memoryBytes, cpuCores, pidsMax }: SandboxSpec['limits']): Readonly<Record<string, string>> {
  return {
    ...(memoryBytes !== null && { 'limits.memory': `${memoryBytes + firstBytes}B`, 'limits.memory.swap': 'false' }),
    ...(cpuCores !== null && {
      'limits.cpu.allowance': `${Math.max(1, Math.round(cpuCores * cpuPeriodMs))}ms/${cpuPeriodMs}ms`,
    }),
    ...(pidsMax !== null && { 'limits.processes': String(pidsMax + firstProcesses) }),
  }
}

/**
 * What the server's own words cannot say: the network of a process of the host, in which nothing can show /sys as the
 * container's own; so only processes are shown.
 */
function rawOf(netPid: number | null): string {
  return [
    ...(netPid === null ? [] : [`lxc.namespace.share.net = ${netPid}`]),
    'lxc.mount.auto =',
    'lxc.mount.auto = proc:mixed',
  ].join('\n')
}

/** In the sandbox around: hands the configuration over, keeps what is printed, and ends as the program did. */
const waiter = [
  `cd ${place}/control && mkfifo ${controls.orders} ${controls.answers} config && mkfifo -m 622 output || exit 125`,
  `: >${controls.ready}`,
  `: >${controls.exit}`,
  `(cd ${place}/boot && cat $(ls | sort -n)) >config &`,
  'cat output',
  `[ -s ${controls.exit} ] || exit 125`,
  `read -r status rest <${controls.exit}`,
  'exit "$status"',
].join('\n')

/** Servers take letters, digits and dashes. */
function nameOf({ directory }: MeetingPlace): string {
  return `stead-${basename(directory)}`
}

function pathOf(at: MeetingPlace): string {
  return `/1.0/instances/${nameOf(at)}`
}

function firstBelow(parent: number): number {
  const children = processes.list().filter((process) => process.parent === parent)
  return children.reduce((first, { pid }) => Math.min(first, pid), children[0]?.pid ?? parent)
}

function usageOf(state: Readonly<Record<string, unknown>>): SandboxUsage {
  // LXD says 0 or less for what it cannot tell.
  const known = (value: unknown): number | null => (Number(value) > 0 ? Number(value) : null)
  const cpuNanoseconds = known(fields(state['cpu'])['usage'])
  return {
    memoryBytes: known(fields(state['memory'])['usage']),
    cpuSeconds: cpuNanoseconds === null ? null : cpuNanoseconds / 1e9,
    pids: known(state['processes']),
  }
}

function startFailed(id: string, why: string, hint: string | null): SteadError {
  return new SteadError({
    code: 'sandbox.start-failed',
    message: `The container ${id} could not be started: ${why}.`,
    ...(hint !== null && { hint }),
  })
}
