/** The memory driver passes the suite, but for what no memory can do. */
import { queueConformance } from '../conformance.ts'
import { openMemoryQueues } from './memory.ts'

queueConformance({
  name: 'memory',
  shared: false,
  brief: true,
  async makePlace(messagesMax) {
    return {
      open: (options = {}) => openMemoryQueues({ ...options, messagesMax }),
      elsewhere: null,
      restart: null,
      async [Symbol.asyncDispose]() {},
    }
  },
  chaosMs: 0,
})
