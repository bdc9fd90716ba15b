/**
 * Where the vault's keys are kept. Invariant: a source answers what was written last, whole, or what was written before;
 * the newest key comes first, and there are more than one only while the vault changes over to it.
 */
import type { WrappingKey } from './envelope.ts'

export interface KeySource {
  /** For messages: where it is. Never anything secret. */
  readonly place: string
  /** The keys, newest first; null when none were ever made. Throws `secrets.key-exposed`, `secrets.bad-key-file`. */
  read(): Promise<readonly WrappingKey[] | null>
  /**
   * Writes the first keys unless there are some by then; durable when it resolves. Answers those that are there: of several
   * processes that begin at once all have the same. Throws as `read`.
   */
  writeFirst(keys: readonly WrappingKey[]): Promise<readonly WrappingKey[]>
  /** Replaces the keys; durable when it resolves. */
  write(keys: readonly WrappingKey[]): Promise<void>
}
