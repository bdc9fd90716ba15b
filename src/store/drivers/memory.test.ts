/** The memory driver passes the suite, but for what no memory can do. */
import { ManualClock } from '../../base/index.ts'
import { storeConformance } from '../conformance.ts'
import { openMemoryStore } from './memory.ts'

storeConformance({
  name: 'memory',
  async makePlace(tombstonesMax) {
    const clock = new ManualClock(1_000_000)
    return {
      open: async () => openMemoryStore({ clock, tombstonesMax }),
      pass: async (ms) => clock.advance(ms),
      elsewhere: { module: '', name: '', options: null },
      async [Symbol.asyncDispose]() {},
    }
  },
  skip: {
    'what was there is there after opening again': 'memory does not outlive the store',
    'kill -9 loses nothing that was acknowledged and leaves nothing half done': 'memory does not outlive the process',
  },
  killRounds: 0,
  histories: 0,
})
