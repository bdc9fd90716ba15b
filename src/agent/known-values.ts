/**
 * The secret values that this node was told, so that they can be kept out of what it hands on of programs' output: also of
 * lines that were kept before a value was known, or where output cannot be filtered as it is written.
 *
 * Invariant: a value that was told once is looked for as long as this agent lives.
 */
import { isSteadError } from '../base/index.ts'
import type { Assignment, InstanceAssignment } from '../protocol/index.ts'
import type { SandboxDriver } from '../sandbox/index.ts'
import { patternsOf, Redactor } from '../secrets/index.ts'

/** The values that a program was given. */
export function valuesIn({ edges }: Pick<InstanceAssignment, 'edges'>): readonly string[] {
  return edges.flatMap(({ grant }) => (grant === null ? [] : [grant.password]))
}

/** Everything to look for of some values. Those that are too short for it are left out: see `redactBytesMin`. */
export function patternsOfAll(values: Iterable<string>): readonly Buffer[] {
  return [...values].flatMap((value) => {
    try {
      return patternsOf(Buffer.from(value))
    } catch (error) {
      if (isSteadError(error) && error.code === 'secrets.too-short') return []
      throw error
    }
  })
}

export class KnownValues {
  readonly #patterns = new Map<string, readonly Buffer[]>()
  #redactor: Redactor | null = null

  /** Learns what a plan holds. */
  learn(assignments: readonly Assignment[]): void {
    for (const assignment of assignments) {
      const values =
        assignment.kind === 'resource'
          ? [assignment.adminPassword, ...assignment.grants.map(({ password }) => password)]
          : valuesIn(assignment)
      for (const value of values) {
        if (this.#patterns.has(value)) continue
        this.#patterns.set(value, patternsOfAll([value]))
        this.#redactor = null
      }
    }
  }

  /** A line without them. */
  redact(line: string): string {
    this.#redactor ??= new Redactor([...this.#patterns.values()].flat())
    return this.#redactor.text(line)
  }

  /** The driver, but that it hands out no output with values in it. */
  hiddenFrom(driver: SandboxDriver): SandboxDriver {
    const { name, capabilities } = driver
    const redact = (text: string): string => this.redact(text)
    return {
      name,
      capabilities,
      start: (spec) => driver.start(spec),
      adopt: (recordDir) => driver.adopt(recordDir),
      dropOldOutput: (recordDir) => driver.dropOldOutput(recordDir),
      remove: (recordDir) => driver.remove(recordDir),
      async *output(recordDir, options) {
        for await (const line of driver.output(recordDir, options)) yield { ...line, text: redact(line.text) }
      },
    }
  }
}
