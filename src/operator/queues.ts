/** What can be asked about the queues of an app. Data and one interface, no I/O. */

/** What is in a queue now. */
export interface QueueStanding {
  /** The resource. */
  readonly part: string
  /** The queue: called as the resource, or one that its users have made beside it. */
  readonly name: string
  readonly ready: number
  readonly delayed: number
  readonly held: number
  readonly dead: number
  /** How long the oldest message that is ready has waited, milliseconds; null when none is. */
  readonly oldestAgeMs: number | null
  /** Consumers get nothing of it until it is resumed. */
  readonly paused: boolean
}

/** Where messages lie: those that wait, and those that were given up. */
export const queueShelves = ['ready', 'dead'] as const
export type QueueShelf = (typeof queueShelves)[number]

/** A message that is looked at and stays where it is. */
export interface QueueLetter {
  readonly id: string
  readonly key: string | null
  readonly priority: number
  readonly attempt: number
  /** Milliseconds since 1970. */
  readonly sentAtMs: number
  readonly headers: Readonly<Record<string, string>>
  /** Why a dead one is dead. */
  readonly cause: string | null
  /** The beginning of its body; null where that is no text. */
  readonly text: string | null
  /** Bytes of its body. */
  readonly bodyBytes: number
}

/** A queue of a part; null: the one that is called as the part. */
export interface QueueName {
  readonly part: string
  readonly queue: string | null
}

/** Messages that are looked at or put back at one time. */
export const lettersMax = 1000

/** Everything throws `cli.unknown-part`, `control.unknown-app`, `control.node-away`, `control.ask-failed`. */
export interface QueueOperations {
  /** The queues of an app, or of one part. */
  list(app: string, part: string | null): Promise<readonly QueueStanding[]>
  /** The first messages of a shelf. */
  peek(app: string, of: QueueName, shelf: QueueShelf, max: number): Promise<readonly QueueLetter[]>
  /** Puts dead letters back: those of `ids`, or the oldest; answers how many. */
  redrive(app: string, of: QueueName, ids: readonly string[] | null, max: number): Promise<number>
  /** Deletes what lies on a shelf; answers how many messages that were. */
  purge(app: string, of: QueueName, shelf: QueueShelf): Promise<number>
  /** Hands out nothing of it any more, or again; what is held goes on. Answers whether it is paused now. */
  pause(app: string, of: QueueName, paused: boolean): Promise<boolean>
}
