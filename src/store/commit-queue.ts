/**
 * Group commit: what arrives while a commit is under way, or in the same turn of the event loop, is committed together and
 * answered together, so that many callers share one fsync. One group at a time, in the order of arrival; the queue is
 * bounded in number and in bytes.
 */
import { Draft } from './draft.ts'
import type { Loaded, Reads } from './draft.ts'
import { failure } from './errors.ts'
import { transactionBytesMax } from './store.ts'

/** Commits that may wait, and their bytes, before more are refused. */
const waitingMax = 10_000
const waitingBytesMax = 4 * transactionBytesMax
/** Commits in one group, and their bytes. */
const groupMax = 512
const groupBytesMax = transactionBytesMax

/** A group that a driver commits: it loads what `reads` names, calls `decide`, and writes the draft. */
export interface Group {
  readonly reads: Reads
  /** Lets each commit of the group decide, in order. */
  decide(loaded: Loaded): Draft
}

interface Waiting {
  readonly reads: Reads
  readonly bytes: number
  decide(draft: Draft): void
  done(): void
  failed(error: unknown): void
}

/** The queue in front of a driver's one writer. */
export class CommitQueue {
  readonly #name: string
  readonly #commit: (group: Group) => void | Promise<void>
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #running: Promise<void> | undefined

  /** `commit` makes a group durable, or throws and has changed nothing or cannot know: then every caller gets the error. */
  constructor(name: string, commit: (group: Group) => void | Promise<void>) {
    this.#name = name
    this.#commit = commit
  }

  /** Resolves to what `decide` answered, once that is durable. Throws `store.overloaded` when too much waits already. */
  submit<T>(reads: Reads, bytes: number, decide: (draft: Draft) => T): Promise<T> {
    if (this.#waiting.length >= waitingMax || this.#waitingBytes + bytes > waitingBytesMax) {
      const message = `${this.#waiting.length} commits wait for the ${this.#name} store already`
      return Promise.reject(failure('overloaded', message, 'Slow down, and look whether its disk or server is stuck.'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let answer: { readonly value: T } | { readonly error: unknown } | undefined
    this.#waitingBytes += bytes
    this.#waiting.push({
      reads,
      bytes,
      decide(draft) {
        try {
          answer = { value: decide(draft) }
        } catch (error) {
          answer = { error }
        }
      },
      done: () => (answer !== undefined && 'value' in answer ? resolve(answer.value) : reject(answer?.error)),
      failed: reject,
    })
    this.#running ??= this.#run()
    return promise
  }

  /** Resolves when nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      await new Promise<void>((resolve) => void setImmediate(resolve))
      const members = this.#next()
      try {
        await this.#commit(groupOf(members))
        for (const member of members) member.done()
      } catch (error) {
        for (const member of members) member.failed(error)
      }
    }
    this.#running = undefined
  }

  /** Takes the next group: at least one commit, then as many as fit. */
  #next(): readonly Waiting[] {
    let bytes = 0
    const over = this.#waiting.findIndex((item, index) => {
      bytes += item.bytes
      return index > 0 && (index >= groupMax || bytes > groupBytesMax)
    })
    const members = this.#waiting.splice(0, over === -1 ? this.#waiting.length : over)
    this.#waitingBytes -= members.reduce((sum, item) => sum + item.bytes, 0)
    return members
  }
}

function groupOf(members: readonly Waiting[]): Group {
  return {
    reads: {
      keys: [...new Set(members.flatMap((member) => member.reads.keys))],
      leases: [...new Set(members.flatMap((member) => member.reads.leases))],
    },
    decide(loaded) {
      const draft = new Draft(loaded)
      for (const member of members) member.decide(draft)
      return draft
    },
  }
}
