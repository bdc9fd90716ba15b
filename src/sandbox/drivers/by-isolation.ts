/**
 * One driver made of several: programs that ask for a kernel or a container of their own go to the one that gives it, all others
 * to the common one; what runs is found again with the driver that its record names.
 *
 * Invariant: a program that asked for one of these never runs without it: where there is none, its start says why.
 */
import type { OutputLine, OutputOptions, Sandbox, SandboxCapabilities, SandboxDriver, SandboxSpec } from '../driver.ts'
import { readRecord } from './records.ts'

/** Each is asked when the first program wants it; what it throws is why that cannot be. */
export interface Isolating {
  readonly kernel: () => SandboxDriver | Promise<SandboxDriver>
  readonly container: () => SandboxDriver | Promise<SandboxDriver>
  /** What finds containers that run already when that one cannot be had. */
  readonly foundContainer: () => SandboxDriver
}

type Wanted = NonNullable<SandboxSpec['isolation']>

/** Joins them. The capabilities are those of the common driver. */
export function byIsolation(common: SandboxDriver, isolating: Isolating): SandboxDriver {
  return new ByIsolation(common, isolating)
}

class ByIsolation implements SandboxDriver {
  readonly name: string
  readonly capabilities: SandboxCapabilities
  readonly series?: NonNullable<SandboxDriver['series']>
  readonly #common: SandboxDriver
  readonly #isolating: Isolating
  readonly #made = new Map<Wanted, Promise<SandboxDriver>>()

  constructor(common: SandboxDriver, isolating: Isolating) {
    this.#common = common
    this.#isolating = isolating
    this.name = common.name
    this.capabilities = common.capabilities
    if (common.series !== undefined) this.series = common.series.bind(common)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    const driver = spec.isolation === undefined ? this.#common : await this.#get(spec.isolation)
    return await driver.start(spec)
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    const driver = await this.#of(recordDir)
    return await driver.adopt(recordDir)
  }

  /** What is kept on the disk is the same with all of them. */
  output(recordDir: string, options?: OutputOptions): AsyncIterable<OutputLine> {
    return this.#common.output(recordDir, options)
  }

  dropOldOutput(recordDir: string): number {
    return this.#common.dropOldOutput(recordDir)
  }

  async remove(recordDir: string): Promise<void> {
    const driver = await this.#of(recordDir)
    await driver.remove(recordDir)
  }

  #get(isolation: Wanted): Promise<SandboxDriver> {
    const before = this.#made.get(isolation)
    if (before !== undefined) return before
    const made = (async () => await this.#isolating[isolation]())()
    this.#made.set(isolation, made)
    // What was missing may be there the next time.
    made.catch(() => this.#made.delete(isolation))
    return made
  }

  async #of(recordDir: string): Promise<SandboxDriver> {
    const record = readRecord(recordDir)
    if (record === null || record.driver === this.#common.name) return this.#common
    if (record.driver !== 'incus') return await this.#get('kernel')
    // What runs does not depend on its server, and neither does finding it.
    return await this.#get('container').catch(() => this.#isolating.foundContainer())
  }
}
