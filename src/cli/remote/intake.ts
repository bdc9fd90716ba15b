/** Takes in what another machine brings, into the bundle store of this one. */
import type { BundleStore } from '../../artifact/index.ts'
import { isSteadError, SteadError } from '../../base/index.ts'
import type { Intake } from '../../operator/index.ts'
import { ownPlatform } from './foreign.ts'

const manifestBytesMax = 64 * 1024 ** 2

export function intakeOf(bundles: BundleStore): Intake {
  return {
    async runtimes() {
      const node = (await bundles.resolveRuntime('node')).runtime
      const python3 = await bundles.resolveRuntime('python3').then(
        ({ runtime }) => runtime,
        (error: unknown) => {
          if (isSteadError(error) && error.code === 'artifact.runtime-missing') return null
          throw error
        },
      )
      if (node === null) throw new Error('node is a runtime')
      return { ...ownPlatform(), node, python3 }
    },
    missing: (contents) => bundles.missing(contents),
    receive: (stream) => bundles.importContents(stream),
    async assemble(digest, manifest) {
      await bundles.assemble(await whole(manifest), digest)
    },
    assembleRuntime: (runtime, sizeBytes) => bundles.assembleRuntime(runtime, sizeBytes),
    async missingBundles(digests) {
      const found = await Promise.all(digests.map((digest) => bundles.open(digest)))
      return digests.filter((_, index) => found[index] === null)
    },
  }
}

async function whole(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > manifestBytesMax) {
      throw new SteadError({
        code: 'cli.manifest-too-large',
        message: `the manifest has more than ${manifestBytesMax / 1024 ** 2} MiB`,
        hint: 'Name what does not belong in the bundle in .steadignore.',
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
