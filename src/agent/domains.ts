/**
 * The domains of the apps of a node, and where in them the data of an assignment is: several apps share a domain when one is
 * a branch of another.
 *
 * Invariant: each domain is opened once; a failure is forgotten, so that the next asking tries again.
 */
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import type { Domain, DomainCopy } from '../domain/index.ts'
import type { DataPlace, Plan, ResourceAssignment } from '../protocol/index.ts'
import type { AgentOptions } from './options.ts'

export class Domains {
  readonly #options: Pick<AgentOptions, 'domain' | 'stateDir' | 'name' | 'domainBytes'>
  readonly #sizeOf: (app: string) => number | null
  readonly #onOpened: (app: string, path: string) => void
  readonly #open = new Map<string, Promise<Domain>>()
  /** Sizes that they were opened with or have grown to, bytes. */
  readonly #sizes = new Map<string, number>()

  /** `sizeOf`: what an app has declared, bytes; `onOpened` is told where its data is before anybody else. */
  constructor(
    options: Pick<AgentOptions, 'domain' | 'stateDir' | 'name' | 'domainBytes'>,
    sizeOf: (app: string) => number | null,
    onOpened: (app: string, path: string) => void,
  ) {
    this.#options = options
    this.#sizeOf = sizeOf
    this.#onOpened = onOpened
  }

  /**
   * The domain of an app, as large as was declared. Throws as the driver's `open` and `grow` do. What tasks of an earlier
   * agent left in it is gone.
   */
  of(app: string): Promise<Domain> {
    const sizeBytes = this.#sizeOf(app) ?? this.#options.domainBytes
    const known = this.#open.get(app)
    if (known === undefined) return this.#opened(app, sizeBytes)
    return sizeBytes > (this.#sizes.get(app) ?? 0) ? this.#grown(app, known, sizeBytes) : known
  }

  /** Gives one that is open more room; a failure is told to whoever asked, and it is tried again with the next asking. */
  async #grown(app: string, known: Promise<Domain>, sizeBytes: number): Promise<Domain> {
    const domain = await known
    await domain.grow(sizeBytes)
    this.#sizes.set(app, sizeBytes)
    return domain
  }

  #opened(app: string, sizeBytes: number): Promise<Domain> {
    const { domain, name } = this.#options
    const opening = domain.open({ id: app, root: this.#rootOf(app), home: name, sizeBytes }).then(async (opened) => {
      this.#onOpened(app, opened.path)
      this.#sizes.set(app, sizeBytes)
      for (const copy of await opened.list()) if (copy.name.startsWith(taskPrefix)) await opened.delete(copy.name)
      return opened
    })
    this.#open.set(app, opening)
    opening.catch(() => this.#open.delete(app))
    return opening
  }

  /** Directory of the data that something is served from. Throws `domain.unknown-copy`, `agent.not-writable`. */
  async pathOf(place: DataPlace): Promise<string> {
    const domain = await this.of(place.app)
    return place.copy === null ? domain.path : (await writableCopy(domain, place.copy)).path
  }

  /** The live data of an app is elsewhere now. */
  moved(app: string, path: string): void {
    this.#onOpened(app, path)
  }

  /** Deletes what an app has stored, for good. Nothing of it may run. */
  async destroy(app: string): Promise<void> {
    const opened = this.#open.get(app)
    this.#open.delete(app)
    await (await opened?.catch(() => null))?.close()
    await this.#options.domain.destroy(this.#rootOf(app))
  }

  /** Leaves all to another opener; whoever works on the data goes on. */
  async leave(): Promise<void> {
    for (const domain of this.#open.values()) await (await domain.catch(() => null))?.leave()
  }

  async close(): Promise<void> {
    for (const domain of this.#open.values()) await (await domain.catch(() => null))?.close()
  }

  #rootOf(app: string): string {
    return join(this.#options.stateDir, 'domains', app)
  }
}

/** How the names of copies begin that a task makes for itself and removes again. */
export const taskPrefix: string = 'stead-task-'

/** Where the data of a resource is; one that was planned before that was told has the live data of its own app. */
export function placeOf({ app, data }: Pick<ResourceAssignment, 'app' | 'data'>): DataPlace {
  return data ?? { app, copy: null, generation: 1, swap: null }
}

/** The copy of that name. Throws `domain.unknown-copy`. */
export async function copyOf(domain: Domain, name: string): Promise<DomainCopy> {
  const copies = await domain.list()
  const copy = copies.find((other) => other.name === name)
  if (copy !== undefined) return copy
  const names = copies.map((other) => other.name).slice(-10)
  throw new SteadError({
    code: 'agent.unknown-copy',
    message: `the data of ${domain.id} has no copy named ${name}`,
    hint: names.length === 0 ? 'It has no copies at all.' : `It has ${names.join(', ')}.`,
  })
}

async function writableCopy(domain: Domain, name: string): Promise<DomainCopy> {
  const copy = await copyOf(domain, name)
  if (copy.kind === 'clone') return copy
  throw new SteadError({
    code: 'agent.not-writable',
    message: `the ${copy.kind} ${name} of ${domain.id} stays as it is, and nothing is served from it`,
    hint: 'Make a clone of it, and serve that.',
  })
}

/** The size that an app of a plan has declared for its data, bytes; null when it has declared none. */
export function declaredBytes({ assignments }: Pick<Plan, 'assignments'>, app: string): number | null {
  const declared = assignments.flatMap((other) =>
    other.kind === 'resource' && placeOf(other).app === app ? [other.dataBytes ?? null] : [],
  )
  return declared.find((bytes) => bytes !== null) ?? null
}
