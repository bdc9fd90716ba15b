/** The domains of the apps of a node. Invariant: each is opened once; a failure is forgotten, so that the next asking tries again. */
import { join } from 'node:path'
import type { Domain } from '../domain/index.ts'
import type { Plan } from '../protocol/index.ts'
import type { AgentOptions } from './options.ts'

export class Domains {
  readonly #options: Pick<AgentOptions, 'domain' | 'stateDir' | 'name' | 'domainBytes'>
  readonly #sizeOf: (app: string) => number | null
  readonly #onOpened: (app: string, path: string) => void
  readonly #open = new Map<string, Promise<Domain>>()

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

  /** The domain of an app. Throws as the driver's `open` does. */
  of(app: string): Promise<Domain> {
    const known = this.#open.get(app)
    if (known !== undefined) return known
    const { domain, name, domainBytes } = this.#options
    const sizeBytes = this.#sizeOf(app) ?? domainBytes
    const opening = domain.open({ id: app, root: this.#rootOf(app), home: name, sizeBytes }).then((opened) => {
      this.#onOpened(app, opened.path)
      return opened
    })
    this.#open.set(app, opening)
    opening.catch(() => this.#open.delete(app))
    return opening
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

/** The size that an app of a plan has declared for its data, bytes; null when it has declared none. */
export function declaredBytes({ assignments }: Pick<Plan, 'assignments'>, app: string): number | null {
  const declared = assignments.find((other) => other.kind === 'resource' && other.app === app)
  return declared?.kind === 'resource' ? (declared.dataBytes ?? null) : null
}
