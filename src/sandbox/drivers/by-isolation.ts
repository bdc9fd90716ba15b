/**
 * One driver made of two: programs that ask for a kernel of their own go to the one that gives it, all others to the common
 * one; what runs is found again with the driver that its record names.
 *
 * Invariant: a program that asked for a kernel of its own never runs without one: where there is none, its start says why.
 */
import type { OutputLine, OutputOptions, Sandbox, SandboxCapabilities, SandboxDriver, SandboxSpec } from '../driver.ts'
import { readRecord } from './records.ts'

/**
 * Joins them. `kernels` is asked when the first program wants a kernel of its own; what it throws is why that cannot be.
 * The capabilities are those of the common driver.
 */
export function byIsolation(common: SandboxDriver, kernels: () => SandboxDriver): SandboxDriver {
  return new ByIsolation(common, kernels)
}

class ByIsolation implements SandboxDriver {
  readonly name: string
  readonly capabilities: SandboxCapabilities
  readonly series?: NonNullable<SandboxDriver['series']>
  readonly #common: SandboxDriver
  readonly #make: () => SandboxDriver
  #made: SandboxDriver | null = null

  constructor(common: SandboxDriver, make: () => SandboxDriver) {
    this.#common = common
    this.#make = make
    this.name = common.name
    this.capabilities = common.capabilities
    if (common.series !== undefined) this.series = common.series.bind(common)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    const driver = spec.isolation === 'kernel' ? this.#kernels() : this.#common
    return await driver.start(spec)
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    return await this.#of(recordDir).adopt(recordDir)
  }

  output(recordDir: string, options?: OutputOptions): AsyncIterable<OutputLine> {
    return this.#of(recordDir).output(recordDir, options)
  }

  dropOldOutput(recordDir: string): number {
    return this.#of(recordDir).dropOldOutput(recordDir)
  }

  async remove(recordDir: string): Promise<void> {
    await this.#of(recordDir).remove(recordDir)
  }

  #kernels(): SandboxDriver {
    this.#made ??= this.#make()
    return this.#made
  }

  #of(recordDir: string): SandboxDriver {
    const record = readRecord(recordDir)
    return record === null || record.driver === this.#common.name ? this.#common : this.#kernels()
  }
}
