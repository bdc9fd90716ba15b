/**
 * What people set for all jobs: queues, what accounts may have, and times for which nodes are kept free. Invariant: what the
 * scheduler refuses is not written, and what is written is given back to it by a new control.
 */
import { manyNodes, tooMany, unknownNode } from './errors.ts'
import type { Unstamped } from './events.ts'
import type { Ledger } from './ledger.ts'
import { accountsMax, queuesMax, reservationsMax, reservedNodesMax } from './limits.ts'
import type { KnownNodes } from './nodes.ts'
import type { AccountRecord, QueueRecord, ReservationRecord } from './records.ts'

interface Parts {
  readonly ledger: Ledger
  readonly nodes: KnownNodes
}

export class Rules {
  readonly #parts: Parts
  readonly #decide: (event: Unstamped) => void

  constructor(parts: Parts, decide: (event: Unstamped) => void) {
    this.#parts = parts
    this.#decide = decide
  }

  /** Throws `batch.too-many`. */
  setQueue(queue: QueueRecord): void {
    const { ledger } = this.#parts
    if (!ledger.queues.has(queue.name) && ledger.queues.size >= queuesMax) throw tooMany('queues', queuesMax)
    ledger.setQueue(queue)
  }

  /** Replaces what was set before. Throws `batch.too-many`. */
  setAccount(account: AccountRecord): void {
    const { ledger } = this.#parts
    if (!ledger.accounts.has(account.name) && ledger.accounts.size >= accountsMax)
      throw tooMany('accounts with limits', accountsMax)
    this.#decide(accountEvent(account))
    ledger.setAccount(account)
  }

  /** Without nodes it is of all that there are. Throws `batch.too-many`, `batch.unknown-node`, `scheduler.duplicate-name`. */
  reserve(wanted: ReservationRecord): void {
    const { ledger, nodes } = this.#parts
    if (ledger.reservations.size >= reservationsMax) throw tooMany('reservations', reservationsMax)
    const all = nodes.all()
    const names = wanted.nodes.length > 0 ? wanted.nodes : all.map(({ node }) => node)
    const unknown = names.find((name) => nodes.get(name) === undefined)
    if (unknown !== undefined) throw unknownNode(unknown, all)
    if (names.length > reservedNodesMax) throw manyNodes(reservedNodesMax)
    const reservation = { ...wanted, nodes: names }
    this.#decide({ kind: 'reserve', reservation: spoken(reservation) })
    ledger.setReservation(reservation.name, reservation)
  }

  /** Throws `scheduler.unknown-name`. */
  release(name: string): void {
    this.#decide({ kind: 'release', reservation: name })
    this.#parts.ledger.setReservation(name, null)
  }

  /** Forgets reservations that are over. */
  pass(nowMs: number): void {
    for (const { name, untilMs } of this.#parts.ledger.reservations.values()) if (untilMs <= nowMs) this.release(name)
  }

  /** Tells a new scheduler, once it has the nodes. */
  restore(nowMs: number): void {
    const { ledger, nodes } = this.#parts
    for (const account of ledger.accounts.values()) this.#decide(accountEvent(account))
    for (const reservation of ledger.reservations.values()) {
      const known = reservation.nodes.filter((name) => nodes.get(name) !== undefined)
      if (known.length === 0 || reservation.untilMs <= nowMs) ledger.setReservation(reservation.name, null)
      else this.#decide({ kind: 'reserve', reservation: spoken({ ...reservation, nodes: known }) })
    }
  }
}

function spoken({ name, nodes, fromMs, untilMs }: ReservationRecord): Omit<ReservationRecord, 'by'> {
  return { name, nodes, fromMs, untilMs }
}

function accountEvent({ name, weight, cpu, memoryBytes, gpus, tasks }: AccountRecord): Unstamped {
  const quota = {
    ...(cpu === null ? {} : { cpu }),
    ...(memoryBytes === null ? {} : { memory: memoryBytes }),
    ...(gpus === null ? {} : { gpuMilli: gpus * 1000 }),
    ...(tasks === null ? {} : { tasks }),
  }
  return { kind: 'set-account', account: name, weight, ...(Object.keys(quota).length === 0 ? {} : { quota }) }
}
