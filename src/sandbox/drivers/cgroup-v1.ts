/** Limit groups by cgroup version 1: one directory in each controller's own hierarchy. */
import { existsSync, writeFileSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { controllersV1, directoryV1, numberIn, planV1 } from '../cgroup.ts'
import type { ControllerV1, GroupPlace, LimitGroup, LimitGroups } from '../cgroup.ts'
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
import { waitUntil } from './wait.ts'

const freezeTimeoutMs = 5_000

/** Groups of version 1 at a place, with the controllers that are mounted there. */
export function groupsV1(clock: Clock, place: GroupPlace): LimitGroups {
  const has = controllersV1.filter((controller) => existsSync(`${place.root}/${controller}/cgroup.procs`))
  const open = (name: string): LimitGroup => new GroupV1(clock, place, name, has)
  return {
    version: 1,
    holds: {
      memory: has.includes('memory'),
      cpu: has.includes('cpu'),
      pids: has.includes('pids'),
      freeze: has.includes('freezer'),
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
  readonly #directory: (controller: ControllerV1) => string
  readonly #directories: readonly string[]
  readonly #parents: readonly string[]

  constructor(clock: Clock, place: GroupPlace, name: string, has: readonly ControllerV1[]) {
    this.#clock = clock
    this.#directory = (controller) => directoryV1(place, controller, name)
    this.#directories = has.map(this.#directory)
    this.#parents = has.map((controller) => `${place.root}/${controller}/${place.parent}`)
  }

  join(pids: readonly number[]): Promise<void> {
    return joinGroups(this.#directories, pids)
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
    await removeGroups(this.#clock, this.#directories, this.#parents)
  }
}
