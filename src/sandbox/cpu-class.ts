/**
 * Classes of CPU: how the kernel shares processors out to a program, and the words in which it is told. Pure.
 *
 * Invariant: what is reserved never comes to more than `shareMax` of one processor, so that the rest of the machine goes on.
 */

/**
 * `best-effort`: what nobody else wants. `reserved`: on one processor, `runtimeUs` in every `periodUs`, done within
 * `deadlineUs`; before everything that has nothing reserved, and no more than that.
 */
export type CpuClass = { readonly kind: 'best-effort' } | ReservedCpu

export interface ReservedCpu {
  readonly kind: 'reserved'
  readonly runtimeUs: number
  readonly periodUs: number
  readonly deadlineUs: number
  /** Which of the processors for this; counted from the last of the machine, since the first serve its interrupts. */
  readonly core: number
  /**
   * `deadline`: for the first thread of the program; what that starts has nothing reserved. `fifo`: for all its threads and
   * processes together, one at a time in the order in which they want it.
   */
  readonly policy: 'deadline' | 'fifo'
}

/** Of one processor; the kernel keeps the rest for everything else. */
const shareMax = 0.95
/** The kernel takes no shorter runtime and no longer period by deadline. */
const runtimeUsMin = 10
const periodUsMax = 4_000_000
const priorityMax = 50

/** What is wrong with a class; null: nothing. */
export function problemOfCpu(cpu: CpuClass): string | null {
  if (cpu.kind === 'best-effort') return null
  const { runtimeUs, periodUs, deadlineUs, core } = cpu
  if (![runtimeUs, periodUs, deadlineUs, core].every((value) => Number.isSafeInteger(value)))
    return 'its reserved CPU time is not in whole microseconds'
  if (runtimeUs < runtimeUsMin || periodUs > periodUsMax)
    return `its reserved CPU time is not from ${runtimeUsMin} us in at most ${periodUsMax} us`
  if (runtimeUs > deadlineUs || deadlineUs > periodUs) return 'its runtime, deadline and period are not in this order'
  if (runtimeUs > shareMax * deadlineUs) return `it reserves more than ${shareMax * 100} % of a processor`
  return core < 0 ? 'its core is not a number from 0' : null
}

/** The shorter the deadline, the sooner a program has its turn on a processor that several share first in, first out. */
export function priorityOf({ deadlineUs }: ReservedCpu): number {
  return Math.max(1, priorityMax - Math.ceil(2 * Math.log2(deadlineUs / 100)))
}

/** What `chrt` (util-linux) is told of a class, with the priority last. */
export function chrtArguments(cpu: ReservedCpu): readonly string[] {
  if (cpu.policy === 'fifo') return ['--fifo', String(priorityOf(cpu))]
  const nanoseconds = (us: number): string => String(us * 1000)
  return [
    '--deadline',
    // Without this the kernel refuses the program a thread or a process of its own.
    '--reset-on-fork',
    '--sched-runtime',
    nanoseconds(cpu.runtimeUs),
    '--sched-deadline',
    nanoseconds(cpu.deadlineUs),
    '--sched-period',
    nanoseconds(cpu.periodUs),
    '0',
  ]
}

/** The numbers in a list of the kernel's, such as `0-3,8`. */
export function numbersIn(list: string): readonly number[] {
  return list
    .trim()
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [from = 0, to = from] = part.split('-').map(Number)
      return Array.from({ length: to - from + 1 }, (_, index) => from + index)
    })
}

/** The processor that a core means; null: there are not so many. */
export function processorOf(core: number, processors: readonly number[]): number | null {
  return processors[processors.length - 1 - core] ?? null
}
