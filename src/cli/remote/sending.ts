/** Brings the bundles of an app to another machine: what it lacks of them, and nothing else. */
import type { BundleStore, Runtime } from '../../artifact/index.ts'
import { isSteadError, SteadError } from '../../base/index.ts'
import { contentsMax, type MachineRuntimes, type OperatorClient } from '../../operator/index.ts'
import { ownPlatform } from './foreign.ts'

/** Times a bundle is sent anew when a sweep there took a part of it meanwhile. */
const triesMax = 3

export interface Sending {
  readonly store: BundleStore
  readonly operator: OperatorClient
  readonly app: string
  /** Called as bytes leave, with their sum. */
  readonly onProgress: (sentBytes: number) => void
}

export interface Sent {
  readonly bytes: number
  readonly contents: number
}

/** Sends what the machine lacks of the bundles and of their runtimes. */
export async function sendBundles(sending: Sending, digests: readonly string[]): Promise<Sent> {
  const { store, operator, app } = sending
  const total = { bytes: 0, contents: 0 }
  const lacking = await operator.missingBundles(app, [...new Set(digests)])
  const runtimes = new Map<string, Runtime>()
  for (const digest of lacking) {
    const runtime = (await store.open(digest))?.manifest.runtime ?? null
    if (runtime !== null) runtimes.set(runtime.digest, runtime)
    for (let tries = 1; ; tries += 1) {
      try {
        await sendBundle(sending, digest, total)
        break
      } catch (error) {
        const swept = isSteadError(error) && error.code === 'artifact.import-refused' && error.retry === 'now'
        if (!swept || tries === triesMax) throw error
      }
    }
  }
  for (const runtime of runtimes.values()) await sendRuntime(sending, runtime, total)
  return total
}

interface Total {
  bytes: number
  contents: number
}

async function sendBundle({ store, operator, app, onProgress }: Sending, digest: string, total: Total): Promise<void> {
  const contents = await store.contents(digest)
  const keys = contents.map(({ key }) => key)
  const missing = new Set<string>()
  for (let from = 0; from < keys.length; from += contentsMax)
    for (const key of await operator.missing(app, keys.slice(from, from + contentsMax))) missing.add(key)
  if (missing.size > 0) {
    await operator.sendContents(app, counted(store.exportContents(digest, missing), total, onProgress))
    total.contents += missing.size
  }
  await operator.sendManifest(app, digest, await store.encodedManifest(digest))
}

async function sendRuntime(
  { store, operator, app, onProgress }: Sending,
  runtime: Runtime,
  total: Total,
): Promise<void> {
  const own = await operator.runtimes(app)
  if ([own.node.digest, own.python3?.digest].includes(runtime.digest)) return
  const exported = await store.exportRuntime(runtime)
  if (exported === null) return
  const { content, stream } = exported
  const missing = await operator.missing(app, [content.key])
  if (missing.length > 0) {
    await operator.sendContents(app, counted(stream, total, onProgress))
    total.contents += 1
  }
  await operator.sendRuntime(app, runtime, content.sizeBytes)
}

async function* counted(
  stream: AsyncIterable<Uint8Array>,
  total: Total,
  onProgress: (sentBytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    onProgress((total.bytes += chunk.length))
    yield chunk
  }
}

/**
 * What runs a program there: the machine's own runtime where it is the same as here, for Node the one from here otherwise.
 * Throws `cli.other-runtime` when it can neither be found nor brought.
 */
export async function runtimeThere(
  store: BundleStore,
  there: MachineRuntimes,
  program: string,
  place: string,
): Promise<Runtime | null> {
  const { runtime: here } = await store.resolveRuntime(program)
  if (here === null) return null
  const own = here.name === 'node' ? there.node : here.name === 'python3' ? there.python3 : null
  const same = (version: string): string =>
    // Packages of Python are made for its first two numbers.
    here.name === 'python3' ? version.split('.').slice(0, 2).join('.') : version
  if (own !== null && same(own.version) === same(here.version)) return own
  const sameKind = there.platform === ownPlatform().platform && there.arch === process.arch
  if (here.name === 'node' && sameKind) return here
  throw new SteadError({
    code: 'cli.other-runtime',
    message: `a part runs on ${here.name} ${here.version} here, and ${place} has ${own === null ? 'none' : own.version}`,
    hint:
      here.name === 'node'
        ? 'Node cannot be brought to another kind of machine: use the same version here as there.'
        : 'Its packages are made for that version. Install the same one there, or deploy from a machine that has the other.',
  })
}
