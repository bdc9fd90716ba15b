/**
 * An image ready to run: its layers unpacked, and its program as this machine starts it.
 *
 * Invariant: what comes out needs no further look at the image; layers are shared and never written.
 */
import { join } from 'node:path'
import { commandOf, parseConfig, userOf, type ImageConfig, type ImageUser, type ProgramWish } from './config.ts'
import { hexOf, verified, type Digest } from './digest.ts'
import { choosePlatform, badDocument, needPlatform, parseTop, type Manifest, type Platform } from './documents.ts'
import { needDigest, wrongDigest } from './blobs.ts'
import type { LayerStore } from './layers.ts'
import { layoutSource, readFrom, readWhole } from './sources/layout.ts'
import { readInside } from './tree.ts'

export interface OpenImage {
  /** Directories of the host, the lowest first. */
  readonly layers: readonly string[]
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly user: ImageUser
  /** Become scratch: empty and writable, gone with the instance. */
  readonly volumes: readonly string[]
  readonly config: ImageConfig
}

/** The path that programs are looked for on where an image says none. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What an OCI layout on disk holds for a platform. Throws what reading documents throws. */
export async function readLayout(
  directory: string,
  platform: Platform,
  name: string = directory,
): Promise<{ digest: Digest; manifest: Manifest; config: ImageConfig }> {
  const source = layoutSource(directory, name)
  const first = await source.top()
  const index = parseTop(first.bytes, first.mediaType, name)
  if (index.kind !== 'index') throw badDocument(name, 'its index.json is no index')
  const chosen = choosePlatform(index.index, platform, name)
  const bytes = await source.document(chosen)
  needDigest(bytes, chosen.digest, `The manifest of ${name}`)
  const top = parseTop(bytes, chosen.mediaType, name)
  if (top.kind !== 'manifest') throw badDocument(name, 'it holds an index within its index')
  const { manifest } = top
  const document = await readWhole(join(directory, 'blobs', 'sha256', hexOf(manifest.config.digest)), name)
  needDigest(document, manifest.config.digest, `The configuration of ${name}`)
  const config = parseConfig(document, manifest.layers.length, `The configuration of ${name}`)
  needPlatform(config.platform, platform, name)
  return { digest: chosen.digest, manifest, config }
}

/**
 * Opens the image of an OCI layout on disk. Throws what reading and unpacking throw, `image.wrong-digest`,
 * `image.asks-for-root`, `image.unknown-user`, `image.no-program`.
 */
export async function openImage(
  directory: string,
  store: LayerStore,
  wish: ProgramWish & {
    readonly platform: Platform
    readonly name: string
    /** Of the manifest that it must be. Absent: whichever is there. */
    readonly digest?: string | undefined
  },
): Promise<OpenImage> {
  const { name, platform } = wish
  const { digest, manifest, config } = await readLayout(directory, platform, name)
  if (wish.digest !== undefined && digest !== wish.digest) throw wrongDigest(name, wish.digest, digest)
  const owners = wish.severalUsers === true ? 'own' : 'root'
  const layers: string[] = []
  for (const [index, layer] of manifest.layers.entries()) {
    const what = `The layer ${layer.digest} of ${name}`
    const path = join(directory, 'blobs', 'sha256', hexOf(layer.digest))
    const { compression } = layer
    const bytes = (): AsyncIterable<Uint8Array> => verified(readFrom(path, name), layer, what)
    layers.push(await store.need({ diffId: diffIdAt(config, index), compression, owners, bytes }, what))
  }
  const files = { passwd: readInside(layers, '/etc/passwd'), group: readInside(layers, '/etc/group') }
  const user = userOf(config, wish, files, name)
  return {
    layers,
    argv: commandOf(config, wish, name),
    env: { PATH: defaultPath, HOME: user.home ?? '/', ...config.env },
    cwd: config.workdir,
    user,
    volumes: config.volumes,
    config,
  }
}

function diffIdAt(config: ImageConfig, index: number): Digest {
  const found = config.diffIds[index]
  if (found === undefined) throw badDocument('the configuration', `it names no layer ${index}`)
  return found
}
