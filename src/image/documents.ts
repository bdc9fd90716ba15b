/**
 * Manifests, indexes and configurations of images, in the forms of OCI and Docker. Pure.
 *
 * Invariant: what comes out has passed every bound; a descriptor names at most one blob by digest and size.
 */
import { z } from 'zod'
import { SteadError } from '../base/index.ts'
import { isDigest, type Digest } from './digest.ts'
import { holdLimit } from './limits.ts'

/** Media types of OCI, and beside them those of Docker, version 2. */
export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layerTar: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerTar: 'application/vnd.docker.image.rootfs.diff.tar',
} as const

const indexTypes: readonly string[] = [mediaTypes.index, mediaTypes.dockerIndex]
const manifestTypes: readonly string[] = [mediaTypes.manifest, mediaTypes.dockerManifest]
const configTypes: readonly string[] = [mediaTypes.config, mediaTypes.dockerConfig]
/** How the layers of each type are compressed. */
const layerTypes: Readonly<Record<string, Compression>> = {
  [mediaTypes.layerTar]: 'none',
  [mediaTypes.layerGzip]: 'gzip',
  [mediaTypes.layerZstd]: 'zstd',
  [mediaTypes.dockerLayer]: 'gzip',
  [mediaTypes.dockerLayerTar]: 'none',
}

/** What a registry is asked for. */
export const acceptedTypes: readonly string[] = [...manifestTypes, ...indexTypes]

export type Compression = 'none' | 'gzip' | 'zstd'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
}

export interface Manifest {
  readonly config: Descriptor
  readonly layers: readonly (Descriptor & { readonly compression: Compression })[]
}

export interface ImageIndex {
  readonly manifests: readonly (Descriptor & {
    readonly platform: Platform | null
    readonly annotations: Readonly<Record<string, string>>
  })[]
}

const digest = z.string().transform((text, context): Digest => {
  if (isDigest(text)) return text
  context.addIssue({ code: 'custom', message: 'must be a digest of sha256' })
  return z.NEVER
})
const text = z.string().max(4096)
const descriptor = z.object({ mediaType: text, digest, size: z.int().min(0) })
const platform = z.object({ os: text, architecture: text, variant: text.optional() })
const annotations = z.record(z.string(), z.string()).nullish()
const indexShape = z.object({
  mediaType: text.optional(),
  manifests: z.array(descriptor.extend({ platform: platform.nullish(), annotations })),
})
const manifestShape = z.object({ mediaType: text.optional(), config: descriptor, layers: z.array(descriptor) })

/** A document, read as JSON. Throws `image.too-large`, `image.bad-document`. */
export function readJson(bytes: Uint8Array, what: string): unknown {
  holdLimit('documentBytesMax', bytes.length, what)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw badDocument(what, 'it is no JSON')
  }
}

/** What a shape makes of a document. Throws `image.bad-document`. */
export function shaped<T>(shape: z.ZodType<T>, value: unknown, what: string): T {
  const { success, data, error } = shape.safeParse(value)
  if (success) return data
  const [issue] = error.issues
  throw badDocument(what, `${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'is not as it should be'}`)
}

/** A manifest or an index, whichever it says to be. Throws `image.unknown-media-type`, `image.bad-document`, `image.too-large`. */
export function parseTop(
  bytes: Uint8Array,
  mediaType: string | null,
  what: string,
): { readonly kind: 'index'; readonly index: ImageIndex } | { readonly kind: 'manifest'; readonly manifest: Manifest } {
  const value = readJson(bytes, what)
  const own = typeof value === 'object' && value !== null && 'mediaType' in value ? value.mediaType : null
  const said = typeof own === 'string' ? own : mediaType
  const type =
    said ??
    (typeof value === 'object' && value !== null && 'manifests' in value ? mediaTypes.index : mediaTypes.manifest)
  if (indexTypes.includes(type)) return { kind: 'index', index: parseIndex(value, what) }
  if (manifestTypes.includes(type)) return { kind: 'manifest', manifest: parseManifest(value, what) }
  throw unknownType(what, type)
}

function parseIndex(value: unknown, what: string): ImageIndex {
  const { manifests } = shaped(indexShape, value, what)
  holdLimit('indexEntriesMax', manifests.length, what)
  return {
    manifests: manifests.map(({ platform: found, annotations: notes, ...rest }) => ({
      ...rest,
      platform: found ?? null,
      annotations: notes ?? {},
    })),
  }
}

function parseManifest(value: unknown, what: string): Manifest {
  const { config, layers } = shaped(manifestShape, value, what)
  holdLimit('layersMax', layers.length, what)
  if (!configTypes.includes(config.mediaType)) throw unknownType(what, config.mediaType)
  holdLimit('documentBytesMax', config.size, `the configuration of ${what}`)
  return {
    config,
    layers: layers.map((layer) => {
      const compression = layerTypes[layer.mediaType]
      if (compression === undefined) throw unknownType(what, layer.mediaType)
      holdLimit('layerBytesMax', layer.size, `the layer ${layer.digest} of ${what}`)
      return { ...layer, compression }
    }),
  }
}

/** This machine's, in the words of images. */
export function platformOf(architecture: string): Platform {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }
  return { os: 'linux', architecture: names[architecture] ?? architecture }
}

/** The manifest for a platform. Throws `image.other-architecture`, naming what there is. */
export function choosePlatform(index: ImageIndex, wanted: Platform, what: string): Descriptor {
  const images = index.manifests.filter(({ platform: found }) => found?.os !== 'unknown')
  const fitting = images.find(({ platform: found }) => found === null || isFor(found, wanted))
  if (fitting !== undefined) return fitting
  throw otherArchitecture(
    what,
    images.map(({ platform: found }) => showPlatform(found)),
    wanted,
  )
}

/** Throws `image.other-architecture` when an image is not for a platform. */
export function needPlatform(found: Platform, wanted: Platform, what: string): void {
  if (!isFor(found, wanted)) throw otherArchitecture(what, [showPlatform(found)], wanted)
}

function isFor(found: Platform, wanted: Platform): boolean {
  return found.os === wanted.os && found.architecture === wanted.architecture
}

function showPlatform(found: Platform | null): string {
  return found === null
    ? 'one that is not named'
    : `${found.os}/${found.architecture}${found.variant === undefined ? '' : `/${found.variant}`}`
}

function otherArchitecture(what: string, there: readonly string[], wanted: Platform): SteadError {
  return new SteadError({
    code: 'image.other-architecture',
    message: `${what} is for ${there.slice(0, 20).join(', ') || 'nothing'}, and this machine is ${showPlatform(wanted)}.`,
    hint: 'Build or choose it for this architecture; a foreign one is not emulated.',
  })
}

function unknownType(what: string, type: string): SteadError {
  return new SteadError({
    code: 'image.unknown-media-type',
    message: `${what} holds ${JSON.stringify(type.slice(0, 200))}, a media type that is not read here.`,
    hint: 'Images of OCI and of Docker (version 2) are read, with layers as tar, gzip or zstd; artifacts, encrypted and foreign layers are not.',
  })
}

export function badDocument(what: string, why: string): SteadError {
  return new SteadError({
    code: 'image.bad-document',
    message: `${what} cannot be read: ${why}.`,
    hint: 'It is damaged or was not written by an image builder.',
  })
}
