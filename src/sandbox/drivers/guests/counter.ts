/**
 * How fast the processor counts, by which an emulated machine keeps time: it is shown the counter of the host, and has no other
 * clock to measure that by. Pure.
 *
 * Invariant: a rate that is only supposed is said to be.
 */

export interface CounterRate {
  readonly kilohertz: number
  /** What is weaker for it; null where it is known. */
  readonly weaker: string | null
}

const supposed: CounterRate = {
  kilohertz: 2_000_000,
  weaker:
    'the clock of guests may run faster or slower than that of this machine: its processor does not tell how fast it counts',
}

/** From the text of /proc/cpuinfo. */
export function counterRate(cpuinfo: string): CounterRate {
  const megahertz = Number(/^cpu MHz\s*:\s*([\d.]+)/m.exec(cpuinfo)?.[1])
  const flags = /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.split(' ') ?? []
  // A kernel that can see how fast the processor runs at the moment tells that instead.
  if (!(megahertz > 0) || !flags.includes('constant_tsc') || flags.includes('aperfmperf')) return supposed
  return { kilohertz: Math.round(megahertz * 1000), weaker: null }
}
