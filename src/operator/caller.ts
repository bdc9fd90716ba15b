/** Who asks, and what each may ask. Invariant: every operation names the one right it needs; nothing is open to all. */

/**
 * What a caller may do. read: see what runs. logs: what the parts print. deploy: change what an app is. operate: start,
 * stop, restart. exec: run a program inside, open a way to a port. secrets: set and rotate values. admin: the rest, and who
 * may do what.
 */
export const rights = ['read', 'logs', 'deploy', 'operate', 'exec', 'secrets', 'admin'] as const
export type Right = (typeof rights)[number]

export interface Caller {
  /** For the record of what was done. */
  readonly name: string
  readonly rights: ReadonlySet<Right>
}

/** Whoever may open the socket that is its owner's alone. */
export const owner: Caller = { name: 'owner', rights: new Set(rights) }
