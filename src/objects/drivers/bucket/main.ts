/**
 * The program that runs in the sandbox of a bucket: its server, and what is done with copies of its data. Told what to do by two
 * arguments, the work and its options as JSON; a secret comes by the environment. Answers with a line of JSON, or with a
 * sentence and the code 1.
 */
import { isSteadError, messageOf } from '../../../base/index.ts'
import { compareBuckets } from './compare.ts'
import { replayObjects } from './replay.ts'
import type { ReplayOptions } from './replay.ts'
import { serveFront } from './front.ts'
import type { FrontOptions } from './front.ts'
import { serveBucket } from './server.ts'
import type { BucketServerOptions } from './server.ts'
import { verifyBucket } from './verify.ts'

/** What can be done, by name. */
export interface Works {
  readonly serve: BucketServerOptions
  readonly front: FrontOptions
  readonly compare: { readonly name: string; readonly before: string; readonly after: string }
  readonly verify: { readonly name: string; readonly dir: string; readonly probe: string | null }
  readonly replay: Omit<ReplayOptions, 'secretAccessKey'>
}

/** The variable with the key of whoever replays. */
export const secretVariable = 'STEAD_REPLAY_SECRET'

/** What comes as options was written by the provider, which is of the same release. */
const works: Readonly<Record<string, (options: string) => unknown>> = {
  serve(options) {
    const given: Works['serve'] = JSON.parse(options)
    return until((say) => serveBucket(given, say))
  },
  front(options) {
    const given: Works['front'] = JSON.parse(options)
    return until((say) => serveFront(given, say))
  },
  compare(options) {
    const { name, before, after }: Works['compare'] = JSON.parse(options)
    return compareBuckets(name, before, after)
  },
  verify(options) {
    const { name, dir, probe }: Works['verify'] = JSON.parse(options)
    return verifyBucket(name, dir, probe)
  },
  replay(options) {
    const given: Works['replay'] = JSON.parse(options)
    return replayObjects({ ...given, secretAccessKey: process.env[secretVariable] ?? '' })
  },
}

/** Serves until it is told to stop. */
async function until(serve: (say: (error: unknown) => void) => Promise<AsyncDisposable>): Promise<null> {
  const say = (error: unknown): void =>
    void process.stderr.write(`${error instanceof Error ? (error.stack ?? '') : messageOf(error)}\n`)
  await using _server = await serve(say)
  await new Promise((resolve) => process.once('SIGTERM', resolve).once('SIGINT', resolve))
  return null
}

const [work = '', options = ''] = process.argv.slice(2)
try {
  const run = works[work]
  if (run === undefined) throw new Error(`there is no work ${work}`)
  process.stdout.write(`${JSON.stringify(await run(options))}\n`)
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`)
  process.exitCode = isSteadError(error) && error.retry === 'never' ? 2 : 1
}
