/**
 * How an instance gets its secrets, and a newer version of one while it runs.
 *
 * What is replaced for a new version (`restart`) gets its secrets by descriptor: they are in its own memory and nowhere on
 * the host. What takes a new version as it runs (`watch`, a signal) has a directory in memory mounted read-only, in which
 * the agent replaces files whole; then it gets its signal.
 *
 * Invariant: a value is kept out of the output before the program can have it.
 */
import { basename } from 'node:path'
import type { InstanceAssignment } from '../protocol/index.ts'
import type { Provider } from '../provider/index.ts'
import type { Mount, Sandbox, SandboxCapabilities, SandboxSpec } from '../sandbox/index.ts'
import { secretFiles } from './environment.ts'
import { patternsOfAll, valuesIn } from './known-values.ts'
import type { Layout } from './layout.ts'
import type { MemoryFiles } from './memory-files.ts'

type Providers = ReadonlyMap<string, Provider>

/** Whether an instance takes new versions as it runs. */
function isLive({ onSecretChange }: InstanceAssignment): boolean {
  return onSecretChange !== 'restart'
}

export class Delivery {
  readonly #memory: MemoryFiles
  readonly #providers: Providers
  readonly #capabilities: SandboxCapabilities

  constructor(memory: MemoryFiles, providers: Providers, capabilities: SandboxCapabilities) {
    this.#memory = memory
    this.#providers = providers
    this.#capabilities = capabilities
  }

  /** Where an instance finds its secrets, inside. */
  dirFor(assignment: InstanceAssignment, layout: Layout): string {
    const asOnHost = isLive(assignment) && this.#capabilities.isolation === 'refused'
    return asOnHost ? this.#memory.secretsDir(assignment.id) : layout.secretsDir
  }

  /** What the start of an instance needs. `files` are all that it is to have, secrets among them, in `dir`. */
  prepare(
    assignment: InstanceAssignment,
    files: SandboxSpec['files'],
    dir: string,
  ): Pick<SandboxSpec, 'files' | 'filterFile'> & { readonly mounts: readonly Mount[] } {
    const { id } = assignment
    const texts = patternsOfAll(valuesIn(assignment))
    const filters = texts.length > 0 && this.#capabilities.outputFilter !== 'refused'
    if (filters) this.#memory.putTexts(id, texts)
    const filter = filters ? { filterFile: this.#memory.textsPath(id) } : {}
    if (!isLive(assignment)) return { files, mounts: [], ...filter }
    this.#putSecrets(assignment)
    const mounted = this.#capabilities.isolation !== 'refused'
    return {
      files: files.filter(({ path }) => path !== `${dir}/${basename(path)}`),
      mounts: mounted ? [{ source: this.#memory.secretsDir(id), target: dir, access: 'read-only' }] : [],
      ...filter,
    }
  }

  /** Brings a running instance up to its assignment. Answers whether it has everything of it now. */
  renew(assignment: InstanceAssignment, sandbox: Sandbox): boolean {
    if (!isLive(assignment)) return false
    if (this.#capabilities.outputFilter !== 'refused')
      this.#memory.addTexts(assignment.id, patternsOfAll(valuesIn(assignment)))
    const changed = this.#putSecrets(assignment)
    const { onSecretChange } = assignment
    if (changed && onSecretChange !== 'watch' && onSecretChange !== 'restart') sandbox.signal(onSecretChange)
    return true
  }

  remove(id: string): void {
    this.#memory.remove(id)
  }

  #putSecrets(assignment: InstanceAssignment): boolean {
    return this.#memory.putSecrets(assignment.id, secretFiles(assignment, this.#providers), assignment.hostUid)
  }
}

/** The versions of the credentials in an assignment, by the part they are for. */
export function grantsOf({ edges }: InstanceAssignment): ReadonlyMap<string, number> {
  return new Map(edges.flatMap(({ part, grant }) => (grant === null ? [] : [[part, grant.version] as const])))
}

/** Whether these are the same credentials. */
export function sameGrants(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return a.size === b.size && [...a].every(([part, version]) => b.get(part) === version)
}
