/** Limit groups by cgroup version 1: one directory in each controller's own hierarchy. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { controllersV1, directoryV1, numberIn, planV1 } from '../cgroup.ts'
import type { ControllerV1, CpuSupport, GroupPlace, LimitGroup, LimitGroups } from '../cgroup.ts'
import type { ReservedCpu } from '../cpu-class.ts'
import {
  carryOut,
  joinGroups,
  joinOwnGroup,
  killMembers,
  membersOf,
  numberOf,
  removeGroups,
  textOf,
} from './cgroup-files.ts'
import { giveClass, giveGroupTime, needProcessor, processorsOf, trySupport, writeClass } from './cpu-classes.ts'
import { waitUntil } from './wait.ts'

const freezeTimeoutMs = 5_000

/** Groups of version 1 at a place, with the controllers that are mounted there. */
export function groupsV1(clock: Clock, place: GroupPlace): LimitGroups {
  const has = controllersV1.filter((controller) => existsSync(`${place.root}/${controller}/cgroup.procs`))
  const open = (name: string): LimitGroup => new GroupV1(clock, place, name, has)
  let cpu: CpuSupport | null = null
  return {
    version: 1,
    holds: {
      memory: has.includes('memory'),
      cpu: has.includes('cpu'),
      pids: has.includes('pids'),
      freeze: has.includes('freezer'),
    },
    get cpu() {
      const byGroup = existsSync(`${place.root}/cpu/cpu.rt_runtime_us`)
      cpu ??= trySupport(
        byGroup ? `${place.root}/cpu/${place.parent}-probe-${process.pid}` : null,
        has.includes('cpu') ? null : 'there are no limit groups for cpu',
      )
      return cpu
    },
    warm: () => joinOwnGroup(/:pids:(.*)$/m, `${place.root}/pids`),
    make(name, limits) {
      carryOut(planV1(place, name, limits, has))
      return open(name)
    },
    open,
  }
}

class GroupV1 implements LimitGroup {
  readonly #clock: Clock
  readonly #place: GroupPlace
  readonly #directory: (controller: ControllerV1 | 'cpuset') => string
  readonly #directories: readonly string[]
  readonly #parents: readonly string[]

  constructor(clock: Clock, place: GroupPlace, name: string, has: readonly ControllerV1[]) {
    this.#clock = clock
    this.#place = place
    this.#directory = (controller) => directoryV1(place, controller, name)
    this.#directories = has.map((controller) => this.#directory(controller))
    this.#parents = has.map((controller) => `${place.root}/${controller}/${place.parent}`)
  }

  join(pids: readonly number[]): Promise<void> {
    return joinGroups(this.#directories, pids)
  }

  async reserve(cpu: ReservedCpu, pid: number): Promise<void> {
    const { root, parent } = this.#place
    const groups = `${root}/cpu/${parent}`
    if (cpu.policy === 'fifo') {
      const siblings = readdirSync(groups, { withFileTypes: true })
      const directories = siblings.filter((entry) => entry.isDirectory()).map(({ name }) => `${groups}/${name}`)
      giveGroupTime(groups, this.#directory('cpu'), directories, cpu)
    }
    await giveClass(cpu, pid)
    // A processor of its own comes last: the kernel takes no deadline from what may not run everywhere, and then keeps it.
    if (!existsSync(`${root}/cpuset/cgroup.procs`)) return
    const memory = textOf(`${root}/cpuset/cpuset.mems`)
    const own = this.#directory('cpuset')
    mkdirSync(own, { recursive: true })
    const processor = needProcessor(cpu.core, processorsOf(`${root}/cpuset/cpuset.effective_cpus`))
    writeClass(`${root}/cpuset/${parent}/cpuset.cpus`, textOf(`${root}/cpuset/cpuset.cpus`))
    writeClass(`${root}/cpuset/${parent}/cpuset.mems`, memory)
    writeClass(`${own}/cpuset.cpus`, String(processor))
    writeClass(`${own}/cpuset.mems`, memory)
    await joinGroups([own], [pid])
  }

  usage(): ReturnType<LimitGroup['usage']> {
    const memory = this.#directory('memory')
    const usedBytes = numberOf(`${memory}/memory.usage_in_bytes`)
    const cpuNanoseconds = numberOf(`${this.#directory('cpuacct')}/cpuacct.usage`)
    return {
      memoryBytes:
        usedBytes === null
          ? null
          : Math.max(0, usedBytes - numberIn(textOf(`${memory}/memory.stat`), 'total_inactive_file')),
      cpuSeconds: cpuNanoseconds === null ? null : cpuNanoseconds / 1e9,
      pids: numberOf(`${this.#directory('pids')}/pids.current`),
    }
  }

  evidence(): ReturnType<LimitGroup['evidence']> {
    return {
      oomKills: numberIn(textOf(`${this.#directory('memory')}/memory.oom_control`), 'oom_kill'),
      forksRefused: numberIn(textOf(`${this.#directory('pids')}/pids.events`), 'max'),
    }
  }

  async freeze(): Promise<void> {
    const state = `${this.#directory('freezer')}/freezer.state`
    writeFileSync(state, 'FROZEN')
    const frozen = await waitUntil(this.#clock, freezeTimeoutMs, () => textOf(state).trim() === 'FROZEN')
    if (frozen) return
    this.thaw()
    throw new SteadError({
      code: 'sandbox.freeze-failed',
      message: `The processes in ${state} did not stand still within ${freezeTimeoutMs} ms.`,
      hint: 'One of them waits inside the kernel; try again when it has gone on.',
      retry: 'later',
    })
  }

  thaw(): void {
    writeFileSync(`${this.#directory('freezer')}/freezer.state`, 'THAWED')
  }

  async kill(): Promise<void> {
    const procs = `${this.#directory('pids')}/cgroup.procs`
    if (membersOf(procs).length === 0) return
    // A frozen process does not see its SIGKILL.
    this.thaw()
    await killMembers(this.#clock, procs)
  }

  async remove(): Promise<void> {
    const { root, parent } = this.#place
    const directories = [...this.#directories, this.#directory('cpuset')]
    await removeGroups(this.#clock, directories, [...this.#parents, `${root}/cpuset/${parent}`])
  }
}
