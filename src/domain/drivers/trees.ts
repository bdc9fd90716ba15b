/**
 * What a driver must be able to do with whole trees. All else about a domain (names, generations, crashes, turns) is
 * common to the drivers and stands in tree-domain.ts.
 */
import type { DomainCapabilities, DomainUsage } from '../driver.ts'

export interface Trees {
  readonly capabilities: DomainCapabilities
  /** Makes an empty, writable tree. */
  create(path: string): Promise<void>
  /** Copies the tree `from` to `to`, which is not there yet; durable when it returns. */
  copy(from: string, to: string, readOnly: boolean): Promise<void>
  /** Removes what there is of a tree: also a half-made one, or none at all. */
  remove(path: string): Promise<void>
  /** Makes what was written to a tree survive a loss of power. */
  sync(path: string): Promise<void>
  /** The driver's stream of a read-only tree; only the difference when `base` is given. Throws `domain.refused`. */
  send(path: string, base: string | null): AsyncIterable<Uint8Array>
  /** Makes a tree from such a stream. Throws `domain.refused`, `domain.broken-stream`. */
  receive(path: string, stream: AsyncIterable<Uint8Array>): Promise<void>
  usage(): Promise<DomainUsage>
  /** Gives the trees that much room together, where that is limited; never less than they have. */
  grow(sizeBytes: number): Promise<void>
  /** Bytes that a tree has to itself; null where that cannot be told. */
  ownBytes(path: string): Promise<number | null>
  /** Lets go of what is held; the trees stay. Throws `domain.busy` while somebody uses them. */
  close(): Promise<void>
}
