/** A hundred checkpoints under mixed load over PostgreSQL, SQLite and files, each read back and judged: minutes. */
import { test } from 'node:test'
import { checkpointProofSkip, proveCheckpoints } from './checkpoint-run.ts'

test(
  'a hundred checkpoints under mixed load are each one moment',
  { skip: checkpointProofSkip, timeout: 1_800_000 },
  async (context) => {
    context.diagnostic(await proveCheckpoints(100))
  },
)
