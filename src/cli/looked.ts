/** What the commands that look into a program have of it, wherever it is. Invariant: they cannot tell where that is. */
import type { Attachment } from '../debug/index.ts'

/** A program that is looked into. */
export interface Looked extends Pick<Attachment, 'stack' | 'snapshot' | 'profile' | 'serveDap'>, AsyncDisposable {
  /** For a person: `process 4711`, `web of shop`. */
  readonly name: string
  readonly language: string
  /** Settles when it is lost without having been closed. */
  readonly lost: Promise<string>
}
