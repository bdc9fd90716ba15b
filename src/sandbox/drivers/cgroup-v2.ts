/** Limit groups by cgroup version 2: one directory that all controllers share. */
import { existsSync, writeFileSync } from 'node:fs'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { directoryV2, numberIn, planV2 } from '../cgroup.ts'
import type { CpuSupport, GroupPlace, LimitGroup, LimitGroups } from '../cgroup.ts'
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
import { giveClass, needProcessor, processorsOf, trySupport, writeClass } from './cpu-classes.ts'
import { waitUntil } from './wait.ts'

const freezeTimeoutMs = 5_000

/** Groups of version 2 at a place. */
export function groupsV2(clock: Clock, place: GroupPlace): LimitGroups {
  const open = (name: string): LimitGroup => new GroupV2(clock, place, name)
  let cpu: CpuSupport | null = null
  return {
    version: 2,
    holds: { memory: true, cpu: true, pids: true, freeze: true },
    get cpu() {
      cpu ??= trySupport(null, null)
      return cpu
    },
    warm: () => joinOwnGroup(/^0::(.*)$/m, place.root),
    make(name, limits) {
      carryOut(planV2(place, name, limits))
      return open(name)
    },
    open,
  }
}

class GroupV2 implements LimitGroup {
  readonly #clock: Clock
  readonly #root: string
  readonly #directory: string
  readonly #parent: string

  constructor(clock: Clock, place: GroupPlace, name: string) {
    this.#clock = clock
    this.#root = place.root
    this.#directory = directoryV2(place, name)
    this.#parent = `${place.root}/${place.parent}`
  }

  join(pids: readonly number[]): Promise<void> {
    return joinGroups([this.#directory], pids)
  }

  async reserve(cpu: ReservedCpu, pid: number): Promise<void> {
    await giveClass(cpu, pid)
    // A processor of its own comes last: the kernel takes no deadline from what may not run everywhere, and then keeps it.
    const handDown = [this.#root, this.#parent].map((directory) => `${directory}/cgroup.subtree_control`)
    for (const file of handDown) writeClass(file, '+cpuset')
    const processor = needProcessor(cpu.core, processorsOf(`${this.#root}/cpuset.cpus.effective`))
    writeClass(`${this.#directory}/cpuset.cpus`, String(processor))
  }

  usage(): ReturnType<LimitGroup['usage']> {
    const usedBytes = numberOf(`${this.#directory}/memory.current`)
    const cpu = textOf(`${this.#directory}/cpu.stat`)
    return {
      memoryBytes:
        usedBytes === null
          ? null
          : Math.max(0, usedBytes - numberIn(textOf(`${this.#directory}/memory.stat`), 'inactive_file')),
      cpuSeconds: cpu === '' ? null : numberIn(cpu, 'usage_usec') / 1e6,
      pids: numberOf(`${this.#directory}/pids.current`),
    }
  }

  evidence(): ReturnType<LimitGroup['evidence']> {
    return {
      oomKills: numberIn(textOf(`${this.#directory}/memory.events`), 'oom_kill'),
      forksRefused: numberIn(textOf(`${this.#directory}/pids.events`), 'max'),
    }
  }

  async freeze(): Promise<void> {
    writeFileSync(`${this.#directory}/cgroup.freeze`, '1')
    const events = `${this.#directory}/cgroup.events`
    const frozen = await waitUntil(this.#clock, freezeTimeoutMs, () => numberIn(textOf(events), 'frozen') === 1)
    if (frozen) return
    this.thaw()
    throw new SteadError({
      code: 'sandbox.freeze-failed',
      message: `The processes in ${this.#directory} did not stand still within ${freezeTimeoutMs} ms.`,
      hint: 'One of them waits inside the kernel; try again when it has gone on.',
      retry: 'later',
    })
  }

  thaw(): void {
    writeFileSync(`${this.#directory}/cgroup.freeze`, '0')
  }

  async kill(): Promise<void> {
    const procs = `${this.#directory}/cgroup.procs`
    if (membersOf(procs).length === 0) return
    const killFile = `${this.#directory}/cgroup.kill`
    // The file kills all at once, also processes that fork meanwhile; kernels before 5.14 lack it.
    if (existsSync(killFile)) writeFileSync(killFile, '1')
    else this.thaw()
    await killMembers(this.#clock, procs)
  }

  async remove(): Promise<void> {
    await removeGroups(this.#clock, [this.#directory], [this.#parent])
  }
}
