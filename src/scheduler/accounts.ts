/**
 * Accounts: what their tasks hold, what they may hold (quota), and whose turn it is (fair share over time).
 *
 * The share of an account is its use of the past, fading by half every `halfLifeMs`, plus what it would come to if it kept
 * what it holds now, divided by its weight. Use is measured in the resource of which it takes the largest part of the
 * cluster. Whoever has the smallest share is next, so a burst cannot take everything at once, and yesterday still counts.
 */
import { tooLarge } from './errors.ts'
import type { Job } from './job.ts'
import { accountsMax } from './limits.ts'
import type { Nodes } from './nodes.ts'
import type { AccountUse } from './model.ts'
import type { Amounts } from './read.ts'
import { cpuColumn, networkColumn, sharedColumnOf } from './resources.ts'
import { readName, readNumber } from './units.ts'

/** What came to less of the cluster than this for a half-life is forgotten. */
const forgottenShare = 1e-6

export interface Account {
  readonly name: string
  weight: number
  quota: Amounts | null
  /** By column. */
  readonly held: number[]
  gpuMilli: number
  tasks: number
  used: number
  usedAtMs: number
}

export class Accounts {
  readonly #nodes: Nodes
  readonly #halfLifeMs: number
  readonly #accounts = new Map<string, Account>()

  constructor(nodes: Nodes, halfLifeMs: number) {
    this.#nodes = nodes
    this.#halfLifeMs = halfLifeMs
  }

  /** The account of a name; the first to ask opens it. Throws `scheduler.too-large`. */
  get(name: string): Account {
    let account = this.#accounts.get(name)
    if (account === undefined) {
      if (this.#accounts.size >= accountsMax) throw tooLarge('accounts', accountsMax)
      account = { name, weight: 1, quota: null, held: [], gpuMilli: 0, tasks: 0, used: 0, usedAtMs: 0 }
      this.#accounts.set(name, account)
    }
    return account
  }

  /** What is known of the past, the largest first. */
  used(nowMs: number): AccountUse[] {
    if (!Number.isFinite(this.#halfLifeMs)) return []
    for (const account of this.#accounts.values()) this.#settle(account, nowMs)
    return [...this.#accounts.values()]
      .map(({ name, used }) => ({ account: name, used, atMs: nowMs }))
      .filter(({ used }) => used > forgottenShare * this.#halfLifeMs)
      .sort((a, b) => b.used - a.used || (a.account < b.account ? -1 : 1))
  }

  /** Takes over what an earlier scheduler knew; what runs counts as if it had run since then. */
  restore({ account: name, used, atMs }: AccountUse, nowMs: number): void {
    const account = this.get(name)
    account.used += used
    account.usedAtMs = Math.min(atMs, nowMs)
    this.#settle(account, nowMs)
  }

  /** A task of the job starts (1) or stops (-1). */
  move(job: Job, direction: 1 | -1, nowMs: number): void {
    const account = this.get(job.facts.account)
    this.#settle(account, nowMs)
    const { columns, amounts } = job.takes
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index] ?? 0
      while (account.held.length <= column) account.held.push(0)
      account.held[column] = (account.held[column] ?? 0) + direction * (amounts[index] ?? 0)
    }
    const { gpuCount, gpuMilli } = job.facts.needs
    account.gpuMilli += direction * gpuCount * gpuMilli
    account.tasks += direction
  }

  /** The first resource of which `more` tasks of the job would exceed the quota; null: none. */
  exceeds(job: Job, more: number): { readonly resource: string; readonly held: number; readonly quota: number } | null {
    const account = this.get(job.facts.account)
    for (const [resource, quota] of account.quota ?? []) {
      const held = this.#held(account, resource)
      const needed = neededOf(job, resource)
      if (needed > 0 && held + more * needed > quota) return { resource, held, quota }
    }
    return null
  }

  /** The smaller, the sooner it is this account's turn. */
  share(name: string, nowMs: number): number {
    const account = this.get(name)
    this.#settle(account, nowMs)
    return (account.used + this.#rate(account) * (this.#halfLifeMs / Math.LN2)) / account.weight
  }

  #held(account: Account, resource: string): number {
    if (resource === 'tasks') return account.tasks
    if (resource === 'gpu') return account.gpuMilli
    const column = this.#nodes.resources.known(resource) ?? -1
    return account.held[sharedColumnOf(column) ?? column] ?? 0
  }

  /** The largest part of the cluster that the account holds, over all resources. */
  #rate(account: Account): number {
    let largest = this.#nodes.gpuMilli > 0 ? account.gpuMilli / this.#nodes.gpuMilli : 0
    for (let column = 0; column < account.held.length; column++) {
      if (column === cpuColumn || column === networkColumn) continue
      const base = [cpuColumn, networkColumn].find((own) => sharedColumnOf(own) === column) ?? column
      const capacity = this.#nodes.capacity[base] ?? 0
      if (capacity > 0) largest = Math.max(largest, (account.held[column] ?? 0) / capacity)
    }
    return largest
  }

  #settle(account: Account, nowMs: number): void {
    const elapsedMs = nowMs - account.usedAtMs
    account.usedAtMs = nowMs
    if (!(elapsedMs > 0) || !Number.isFinite(this.#halfLifeMs)) return
    const kept = 2 ** (-elapsedMs / this.#halfLifeMs)
    account.used = account.used * kept + this.#rate(account) * (this.#halfLifeMs / Math.LN2) * (1 - kept)
  }
}

/** Checks what an account has used. Throws `scheduler.bad-input`. */
export function readUse({ account, used, atMs }: AccountUse): AccountUse {
  readName('the account of a use', account)
  readNumber(`used of '${account}'`, used, 0, 1e18)
  readNumber(`atMs of '${account}'`, atMs, -1e15, 1e15)
  return { account, used, atMs }
}

function neededOf(job: Job, resource: string): number {
  if (resource === 'tasks') return 1
  const { needs } = job.facts
  if (resource === 'gpu') return needs.gpuCount * needs.gpuMilli
  return needs.amounts.find(([name]) => name === resource)?.[1] ?? 0
}
