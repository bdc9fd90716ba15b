/**
 * The secret values that this node was told, so that they can be kept out of what it hands on of programs' output: also of
 * lines that were kept before a value was known, or where output cannot be filtered as it is written.
 *
 * Invariants: what the plan holds is always looked for; of earlier values the last are, within a bound, for output that was
 * kept while they were in use; no number of values keeps a line from being handed on.
 */
import { isSteadError } from '../base/index.ts'
import type { Assignment, InstanceAssignment } from '../protocol/index.ts'
import type { SandboxDriver } from '../sandbox/index.ts'
import { patternsOf, Redactor } from '../secrets/index.ts'

/** Earlier values that are still looked for, and the bytes of all their patterns. */
const earlierMax = 200
const earlierBytesMax = 8 * 1024 ** 2

/** The values that a program was given. */
export function valuesIn({ edges }: Pick<InstanceAssignment, 'edges'>): readonly string[] {
  return edges.flatMap(({ grant }) => (grant === null ? [] : [grant.password]))
}

function valuesOf(assignment: Assignment): readonly string[] {
  if (assignment.kind !== 'resource') return valuesIn(assignment)
  return [assignment.adminPassword, ...assignment.grants.map(({ password }) => password)]
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
  /** Those that the plan holds come last; before them the earlier ones, the oldest first. */
  readonly #patterns = new Map<string, readonly Buffer[]>()
  readonly #onNotice: (text: string) => void
  #redactor: Redactor | null = null
  #saidForgotten = false

  constructor(onNotice: (text: string) => void) {
    this.#onNotice = onNotice
  }

  /** Learns what a plan holds. */
  learn(assignments: readonly Assignment[]): void {
    const planned = new Set(assignments.flatMap((assignment) => valuesOf(assignment)))
    for (const value of planned) {
      const known = this.#patterns.get(value)
      if (known === undefined) this.#redactor = null
      this.#patterns.delete(value)
      this.#patterns.set(value, known ?? patternsOfAll([value]))
    }
    this.#forget(this.#patterns.size - planned.size)
  }

  /** Keeps the last of the earlier values, of which there are `count`. */
  #forget(count: number): void {
    const earlier = [...this.#patterns].slice(0, count).toReversed()
    let bytes = 0
    for (const [index, [value, patterns]] of earlier.entries()) {
      bytes += patterns.reduce((sum, { length }) => sum + length, 0)
      if (index < earlierMax && bytes <= earlierBytesMax) continue
      this.#patterns.delete(value)
      this.#redactor = null
      if (this.#saidForgotten) continue
      this.#saidForgotten = true
      this.#onNotice('secrets that were replaced long ago are no longer looked for in output that was kept since')
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
