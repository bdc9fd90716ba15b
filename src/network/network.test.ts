/** Both network drivers against the one suite. */
import { createHostDriver } from './drivers/host.ts'
import { openLibc } from './drivers/libc.ts'
import { createNetnsDriver } from './drivers/netns.ts'
import { networkConformance } from './conformance.ts'

const libc = openLibc()
const reason = 'reason' in libc ? libc.reason : false
networkConformance('netns', reason, () => {
  if ('reason' in libc) throw new Error(libc.reason)
  return createNetnsDriver({ libc })
})
networkConformance('host', false, () => createHostDriver('chosen by the test'))
