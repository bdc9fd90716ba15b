/** Ranges of users: no two meet, each is told by its workload, and what is beyond the last is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostUidMin } from '../protocol/index.ts'
import { hostIdsOf, isUserOf } from './host-ids.ts'

test('ranges of users follow one another and end before the id that means none', () => {
  let end = 0
  for (const number of [0, 1, 2, 32_765, 32_766]) {
    const { first, count } = hostIdsOf(hostUidMin + number)
    assert.ok(first >= end && first + count < 2 ** 32, String(number))
    end = first + count
    for (const id of [hostUidMin + number, first, first + count - 1]) assert.ok(isUserOf(hostUidMin + number, id))
    for (const id of [0, 1000, hostUidMin - 1, first - 1, first + count])
      assert.ok(!isUserOf(hostUidMin + number, id), String(id))
  }
  for (const hostUid of [hostUidMin - 1, hostUidMin + 32_767, 1000])
    assert.throws(() => hostIdsOf(hostUid), { code: 'agent.no-more-users' })
})
