/** Who asks, and what each may ask. Invariant: every operation names the one right it needs; nothing is open to all. */

/**
 * What a caller may do. read: see what runs. logs: what the parts print. deploy: change what an app is. operate: start,
 * stop, restart. exec: run a program inside, open a way to a port. debug: see where a program stands and what takes its
 * time. values: see the values of names in it as a line is passed. evaluate: any expression, and a debugger: do what the program can. kernel:
 * debug the kernel that a part has for itself. trace: see what the kernel of a machine does, by traces that have been read;
 * trace-any: by any program for it. secrets: set and rotate values. admin: the rest, and who may do what.
 */
export const rights = [
  'read',
  'logs',
  'deploy',
  'operate',
  'exec',
  'debug',
  'values',
  'evaluate',
  'kernel',
  'trace',
  'trace-any',
  'secrets',
  'admin',
] as const
export type Right = (typeof rights)[number]

export type Role = 'viewer' | 'developer' | 'operator' | 'admin'

/** Usual sets of rights. */
export const roles: Readonly<Record<Role, readonly Right[]>> = {
  viewer: ['read'],
  developer: ['read', 'logs', 'deploy'],
  operator: ['read', 'logs', 'deploy', 'operate', 'exec', 'debug', 'values', 'evaluate'],
  admin: rights,
}

/** What is part of another right: whoever may do that may do this. */
export const includedIn: Readonly<Partial<Record<Right, Right>>> = { values: 'evaluate', trace: 'trace-any' }

export function isRole(word: string): word is Role {
  return Object.hasOwn(roles, word)
}

export function isRight(word: string): word is Right {
  return (rights as readonly string[]).includes(word)
}

export interface Caller {
  /** For the record of what was done. */
  readonly name: string
  /** Where it comes from, for the record: `socket`, `token 3kq0v9d2`, `ssh 192.0.2.7`. */
  readonly from: string
  /** Whether it has the right on an app now; null: on the platform itself, which is more than on all its apps. */
  may(right: Right, app: string | null): boolean
}

/** Whoever may open the socket that is its owner's alone. */
export function owner(from = 'socket'): Caller {
  return { name: 'owner', from, may: () => true }
}
