/**
 * One driver made of several: a program that asks for what only one of the others gives goes to that one, every other program to
 * the common one; what runs is found again with the driver that its record names.
 *
 * Invariant: a program that asked for one of the others never runs without it: where it cannot be had, its start says why.
 */
import type { OutputLine, OutputOptions, Sandbox, SandboxCapabilities, SandboxDriver, SandboxSpec } from '../driver.ts'
import { readRecord } from './records.ts'

/** A driver beside the common one, which is not made before somebody needs it. */
export interface OtherDriver {
  /** Whether a program is for it. */
  wanted(spec: SandboxSpec): boolean
  /** Asked when it is first needed, and again while that fails; what it throws is why it cannot be had. */
  make(): SandboxDriver | Promise<SandboxDriver>
  /** Finds what runs already when it cannot be made. Absent: then that is not found either. */
  readonly makeFinder?: () => SandboxDriver
}

/**
 * Joins drivers: the others by their names, which stand in the records of what they started. The capabilities are those of the
 * common driver.
 */
export function joinDrivers(common: SandboxDriver, others: Readonly<Record<string, OtherDriver>>): SandboxDriver {
  return new JoinedDriver(common, new Map(Object.entries(others)))
}

class JoinedDriver implements SandboxDriver {
  readonly name: string
  readonly capabilities: SandboxCapabilities
  readonly series?: NonNullable<SandboxDriver['series']>
  readonly #common: SandboxDriver
  readonly #others: ReadonlyMap<string, OtherDriver>
  readonly #made = new Map<OtherDriver, Promise<SandboxDriver>>()

  constructor(common: SandboxDriver, others: ReadonlyMap<string, OtherDriver>) {
    this.#common = common
    this.#others = others
    this.name = common.name
    this.capabilities = common.capabilities
    if (common.series !== undefined) this.series = common.series.bind(common)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    const other = this.#others.values().find((one) => one.wanted(spec))
    const driver = other === undefined ? this.#common : await this.#get(other)
    return await driver.start(spec)
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    const driver = await this.#of(recordDir)
    return await driver.adopt(recordDir)
  }

  /** Of a driver that is no longer to be had, its lines as they are kept, which is the same with all of them. */
  async *output(recordDir: string, options?: OutputOptions): AsyncGenerator<OutputLine> {
    const driver = await this.#of(recordDir).catch(() => this.#common)
    yield* driver.output(recordDir, options)
  }

  dropOldOutput(recordDir: string): number {
    return this.#common.dropOldOutput(recordDir)
  }

  async remove(recordDir: string): Promise<void> {
    const driver = await this.#of(recordDir)
    await driver.remove(recordDir)
  }

  /** The driver that made a record. */
  async #of(recordDir: string): Promise<SandboxDriver> {
    const other = this.#others.get(readRecord(recordDir)?.driver ?? '')
    if (other === undefined) return this.#common
    return await this.#get(other).catch((error: unknown) => {
      if (other.makeFinder === undefined) throw error
      return other.makeFinder()
    })
  }

  #get(other: OtherDriver): Promise<SandboxDriver> {
    const before = this.#made.get(other)
    if (before !== undefined) return before
    const made = (async () => await other.make())()
    this.#made.set(other, made)
    // What was missing may be there the next time.
    made.catch(() => this.#made.delete(other))
    return made
  }
}
