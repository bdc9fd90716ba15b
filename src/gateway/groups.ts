/**
 * Releases side by side, pure: which group of instances a request belongs to, by weight, and which instance for a client that
 * is to stay where it was. A client's key is ranked against every name (rendezvous hashing), so nothing is remembered, every
 * gateway answers alike, and a change moves only those it must: a group that grows takes clients and gives none away, and
 * of an instance that leaves only its own clients move.
 */
import type { RouteGroup } from '../protocol/index.ts'
import { isShunned } from './pick.ts'
import type { Candidate, Eligible } from './pick.ts'

/** A number in (0, 1) for a key and a name: FNV-1a, then mixed so that names which differ in one letter are far apart. */
export function rank(key: string, name: string): number {
  let hash = 0x811c9dc5
  const text = `${key} ${name}`
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32
}

/** The group of a key: each has its weight's share of all keys. Null when none has a weight. */
export function groupOfKey(groups: readonly RouteGroup[], key: string): string | null {
  let best: string | null = null
  let bestScore = Number.NEGATIVE_INFINITY
  for (const { name, weight } of groups) {
    if (weight === 0) continue
    const score = Math.log(rank(key, name)) / weight
    if (score > bestScore) {
      best = name
      bestScore = score
    }
  }
  return best
}

/** The instance of a key: the first in the key's order that has a place and is not to be passed over; null when none is. */
export function pickSticky<T extends Candidate & { readonly target: { readonly instance: string } }>(
  from: Eligible<T>,
  key: string,
  avoid: T | null,
  nowMs: number,
): T | null {
  let best: T | null = null
  let bestRank = -1
  for (const candidate of from.candidates) {
    if (from.room(candidate) === 0 || isShunned(candidate, avoid, nowMs)) continue
    const at = rank(key, candidate.target.instance)
    if (at > bestRank) {
      best = candidate
      bestRank = at
    }
  }
  return best
}
