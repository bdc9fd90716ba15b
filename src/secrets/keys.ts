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
  /** Replaces the keys; durable when it resolves. */
  write(keys: readonly WrappingKey[]): Promise<void>
}
