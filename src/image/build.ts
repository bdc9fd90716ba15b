/**
 * Builds an image from a directory, without Docker: one layer, a configuration, a manifest, and a bill of what is inside.
 *
 * Invariant: equal directories and options give an equal digest, whenever and wherever it is done with one version of Node.
 */
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { SteadError } from '../base/index.ts'
import type { Blobs } from './blobs.ts'
import { badDocument, mediaTypes, readJson, type Descriptor, type Platform } from './documents.ts'
import type { Digest } from './digest.ts'
import { billOf } from './sbom.ts'
import { storedImage, type FetchedImage } from './source.ts'
import { filesThatTell } from './tree.ts'
import type { Owners } from './unpack.ts'
import { writeTree } from './write-tar.ts'

export interface BuildOptions {
  readonly platform: Platform
  /** Where the directory goes in the image; `/`: it is the root, of which /proc, /sys and /dev are left out. */
  readonly at: string
  readonly without: readonly string[]
  /** Whose the files are in the image: root's, or of whom they are in the directory. Absent: root's. */
  readonly owners?: Owners
  /** An image that it is laid over, among the blobs; its configuration goes on where nothing is said here. */
  readonly base: Digest | null
  readonly entrypoint: readonly string[] | null
  readonly cmd: readonly string[] | null
  readonly env: Readonly<Record<string, string>>
  readonly workdir: string | null
  readonly user: string | null
  readonly ports: readonly number[]
  readonly volumes: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** A command that says by its exit whether the program is well. */
  readonly health?: readonly string[] | null
}

export interface BuiltImage extends FetchedImage {
  /** A bill of materials of the directory, in CycloneDX. */
  readonly bill: string
}

const annotationOfBill = 'dev.stead.bill.cyclonedx'

/** Of a root tree, as debootstrap makes it with devices in it. */
const madeByTheSandbox = ['proc', 'sys', 'dev']

function isRoot(at: string): boolean {
  return at.split('/').every((name) => name === '')
}

/** Throws `image.not-buildable`, `image.too-large`, `image.no-space`, `image.not-here`. */
export async function buildImage(directory: string, blobs: Blobs, options: BuildOptions): Promise<BuiltImage> {
  const { platform, at, without, owners = 'root', base } = options
  needPaths(options)
  await needDirectory(directory)
  const under = base === null ? null : await storedImage(blobs, base)
  const { layer, diffId } = await addLayer(
    blobs,
    writeTree(directory, { without: isRoot(at) ? [...madeByTheSandbox, ...without] : without, at, owners }),
    directory,
  )
  const inherited = under === null ? {} : await configOf(blobs, under)
  const config = await addJson(blobs, {
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    os: platform.os,
    config: { ...inherited, ...said(options, inherited) },
    rootfs: { type: 'layers', diff_ids: [...(under?.config.diffIds ?? []), diffId] },
  })
  const bill = billOf(layer.digest, filesThatTell([directory]))
  const kept = await blobs.add(Buffer.from(bill), 'The bill of materials')
  const layers = (under?.manifest.layers ?? []).map(({ compression: _compression, ...rest }) => rest)
  const manifest = await addJson(blobs, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers: [...layers, layer],
    annotations: { [annotationOfBill]: kept.digest },
  })
  return { ...(await storedImage(blobs, manifest.digest)), bill }
}

function needPaths({ workdir, volumes }: BuildOptions): void {
  const wrong = [...(workdir === null ? [] : [workdir]), ...volumes].find((path) => !path.startsWith('/'))
  if (wrong === undefined) return
  throw new SteadError({
    code: 'image.not-buildable',
    message: `${JSON.stringify(wrong)} is no absolute path in an image.`,
    hint: 'As in --volume /data or --workdir /app.',
  })
}

async function needDirectory(directory: string): Promise<void> {
  const found = await stat(directory).catch(() => null)
  if (found?.isDirectory() === true) return
  throw new SteadError({
    code: 'image.not-buildable',
    message: `No image can be built of ${directory}: ${found === null ? 'it is not there' : 'it is no directory'}.`,
    hint: 'Name the directory whose files are to be in the image.',
  })
}

/** The digest of the bill that was kept beside an image that was built here; null for others. */
export async function billBeside(blobs: Blobs, digest: Digest): Promise<string | null> {
  const value = readJson(await blobs.read(digest), digest)
  const notes = typeof value === 'object' && value !== null && 'annotations' in value ? value.annotations : null
  if (typeof notes !== 'object' || notes === null) return null
  const found: unknown = Object.entries(notes).find(([key]) => key === annotationOfBill)?.[1]
  return typeof found === 'string' ? found : null
}

async function addLayer(
  blobs: Blobs,
  tar: AsyncIterable<Uint8Array>,
  directory: string,
): Promise<{ layer: Descriptor; diffId: Digest }> {
  const hash = createHash('sha256')
  const counted = (async function* () {
    for await (const chunk of tar) {
      hash.update(chunk)
      yield chunk
    }
  })()
  // Level and window are named, so that a change of Node's own choice changes no digest.
  const zip = createGzip({ level: 6, windowBits: 15, memLevel: 8, chunkSize: 256 * 1024 })
  const packed = pipeline(Readable.from(counted, { objectMode: false }), zip, () => undefined)
  const added = await blobs.add(packed, `The layer of ${directory}`)
  return { layer: { mediaType: mediaTypes.layerGzip, ...added }, diffId: `sha256:${hash.digest('hex')}` }
}

async function addJson(blobs: Blobs, value: unknown): Promise<{ digest: Digest; size: number }> {
  return await blobs.add(Buffer.from(JSON.stringify(value)), 'A document of the image')
}

async function configOf(blobs: Blobs, { manifest }: FetchedImage): Promise<Record<string, unknown>> {
  const value = readJson(await blobs.read(manifest.config.digest), manifest.config.digest)
  const config = typeof value === 'object' && value !== null && 'config' in value ? value.config : {}
  if (config === null || config === undefined) return {}
  if (typeof config === 'object') return { ...config }
  throw badDocument(manifest.config.digest, 'its config is no object')
}

/** What the options say, in the words of a configuration, keys in one order. */
function said(options: BuildOptions, inherited: Record<string, unknown>): Record<string, unknown> {
  const { entrypoint, cmd, env, workdir, user, ports, volumes, labels, health = null } = options
  for (const name of Object.keys(env)) {
    if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) continue
    throw new SteadError({
      code: 'image.not-buildable',
      message: `${JSON.stringify(name)} is no name of an environment variable.`,
      hint: 'As in --env PORT=3000.',
    })
  }
  const before = Array.isArray(inherited['Env'])
    ? inherited['Env'].filter((line): line is string => typeof line === 'string')
    : []
  const kept = before.filter((line) => !Object.hasOwn(env, line.split('=')[0] ?? ''))
  const lines = [...kept, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)]
  const marks = (names: readonly string[]): Record<string, object> =>
    Object.fromEntries(names.map((name) => [name, {}]))
  return {
    ...(lines.length === 0 ? {} : { Env: lines }),
    // An entry point of its own does not take the arguments of another.
    ...(entrypoint === null ? {} : { Entrypoint: [...entrypoint], Cmd: null }),
    ...(cmd === null ? {} : { Cmd: [...cmd] }),
    ...(workdir === null ? {} : { WorkingDir: workdir }),
    ...(user === null ? {} : { User: user }),
    ...(ports.length === 0 ? {} : { ExposedPorts: marks(ports.map((port) => `${port}/tcp`)) }),
    ...(volumes.length === 0 ? {} : { Volumes: marks(volumes) }),
    ...(health === null ? {} : { Healthcheck: { Test: ['CMD', ...health] } }),
    ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }),
  }
}
