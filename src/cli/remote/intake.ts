/**
 * Takes in what another machine brings, into the bundle store of this one. Invariant: who may deploy cannot fill the disk:
 * nothing is taken in while its room is low, and what comes is counted as it is read, against a maximum and what is free.
 */
import { statfs } from 'node:fs/promises'
import { bundleLimits, type BundleStore } from '../../artifact/index.ts'
import { isSteadError, SteadError } from '../../base/index.ts'
import type { Intake } from '../../operator/index.ts'
import { levelOf } from '../../protocol/index.ts'
import { ownPlatform } from './foreign.ts'

const manifestBytesMax = 64 * 1024 ** 2

/** Contents of one stream: those of a bundle, with a line before each. */
const contentsBytesMax = bundleLimits.totalBytesMax + bundleLimits.filesMax * 128
/** After so much the disk is looked at again: others write there too. */
const lookBytes = 16 * 1024 ** 2

/** The disk that things are taken in to, as it is now. */
export type DiskLook = () => Promise<{ readonly freeBytes: number; readonly totalBytes: number }>

/** Of the disk of a directory. */
export function diskOf(directory: string): DiskLook {
  return async () => {
    const { bavail, blocks, bsize } = await statfs(directory)
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
  }
}

/** What takes in throws `cli.no-room` and `cli.contents-too-large`, and as the store does. */
export function intakeOf(bundles: BundleStore, look: DiskLook): Intake {
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
    async receive(stream) {
      await needRoom(look)
      return bundles.importContents(counted(stream, look))
    },
    async assemble(digest, manifest) {
      await needRoom(look)
      await bundles.assemble(await whole(manifest), digest)
    },
    async assembleRuntime(runtime, sizeBytes) {
      await needRoom(look)
      await bundles.assembleRuntime(runtime, sizeBytes)
    },
    async missingBundles(digests) {
      const found = await Promise.all(digests.map((digest) => bundles.open(digest)))
      return digests.filter((_, index) => found[index] === null)
    },
  }
}

async function* counted(stream: AsyncIterable<Uint8Array>, look: DiskLook): AsyncGenerator<Uint8Array> {
  let bytes = 0
  let lookAt = lookBytes
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > contentsBytesMax) {
      throw new SteadError({
        code: 'cli.contents-too-large',
        message: `more than ${Math.round(contentsBytesMax / 1024 ** 2)} MiB were brought at once`,
        hint: 'A bundle is not so large: data belongs in a bucket or a volume.',
      })
    }
    if (bytes >= lookAt) {
      await needRoom(look)
      lookAt = bytes + lookBytes
    }
    yield chunk
  }
}

/** Refuses while the disk is low: what runs here needs the rest. Throws `cli.no-room`. */
async function needRoom(look: DiskLook): Promise<void> {
  const { freeBytes, totalBytes } = await look()
  if (levelOf(freeBytes, totalBytes) === 'ok') return
  throw new SteadError({
    code: 'cli.no-room',
    message: `nothing more is taken in: the disk has only ${Math.round(freeBytes / 1e6)} MB free`,
    hint: '`stead disk` there shows who uses what; `stead prune` removes what nothing needs. What runs goes on.',
    retry: 'later',
  })
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
