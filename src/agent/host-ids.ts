/**
 * The users of this machine that a workload has beside its own, for images whose users are kept apart. Pure.
 *
 * Invariant: told by the workload's own user alone, so that files stay whose they were over restarts and releases; no two
 * workloads share one, and none is given out by a distribution, for these count up from below.
 */
import { SteadError } from '../base/index.ts'
import { imageUsersMax } from '../image/index.ts'
import { hostUidMin } from '../protocol/index.ts'
import type { HostIds } from '../sandbox/index.ts'

const rangeFirst = 2 ** 31
/** The last id that there is means none. */
const rangesMax = Math.floor((2 ** 32 - 2 - rangeFirst) / imageUsersMax)

/** Throws `agent.no-more-users`. */
export function hostIdsOf(hostUid: number): HostIds {
  const number = hostUid - hostUidMin
  if (number >= 0 && number < rangesMax) return { first: rangeFirst + number * imageUsersMax, count: imageUsersMax }
  throw new SteadError({
    code: 'agent.no-more-users',
    message: `no range of users is left for user ${hostUid}`,
    hint: `There are ${rangesMax} of them, for as many parts as this platform has ever had: run this one with users: 'one'.`,
  })
}

/** Whether a user of the host is a workload's own, or one of those beside it. */
export function isUserOf(hostUid: number, id: number): boolean {
  const number = Math.floor((id - rangeFirst) / imageUsersMax)
  return id === hostUid || (id >= rangeFirst && number === hostUid - hostUidMin)
}
