/**
 * One driver made of several: programs that name a container runtime go to its driver, all others to the common one; what runs
 * is found again with the driver that its record names.
 *
 * Invariant: a program that names a runtime never runs without it: where it cannot be had, its start says why.
 */
import type {
  OciRuntime,
  OutputLine,
  OutputOptions,
  Sandbox,
  SandboxCapabilities,
  SandboxDriver,
  SandboxSpec,
} from '../driver.ts'
import { readRecord } from './records.ts'

const runtimes: readonly OciRuntime[] = ['runc', 'crun']

/**
 * Joins them. `make` is asked when the first program names a runtime; what it throws is why that cannot be. The capabilities
 * are those of the common driver.
 */
export function byRuntime(common: SandboxDriver, make: (runtime: OciRuntime) => SandboxDriver): SandboxDriver {
  return new ByRuntime(common, make)
}

class ByRuntime implements SandboxDriver {
  readonly name: string
  readonly capabilities: SandboxCapabilities
  readonly series?: NonNullable<SandboxDriver['series']>
  readonly #common: SandboxDriver
  readonly #make: (runtime: OciRuntime) => SandboxDriver
  readonly #made = new Map<OciRuntime, SandboxDriver>()

  constructor(common: SandboxDriver, make: (runtime: OciRuntime) => SandboxDriver) {
    this.#common = common
    this.#make = make
    this.name = common.name
    this.capabilities = common.capabilities
    if (common.series !== undefined) this.series = common.series.bind(common)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    const driver = spec.runtime === undefined ? this.#common : this.#runtime(spec.runtime)
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

  #runtime(name: OciRuntime): SandboxDriver {
    const driver = this.#made.get(name) ?? this.#make(name)
    this.#made.set(name, driver)
    return driver
  }

  #of(recordDir: string): SandboxDriver {
    const named = readRecord(recordDir)?.driver
    const runtime = runtimes.find((name) => name === named)
    return runtime === undefined ? this.#common : this.#runtime(runtime)
  }
}
