/** The images of this machine, and how one becomes the bundle of a part: as an OCI layout, complete, so that a release needs no registry to go back. */
import { join } from 'node:path'
import { bundleLimits, type Bundle, type BundleStore } from '../artifact/index.ts'
import { systemClock } from '../base/index.ts'
import { checkProgram, fileCredentials, ImageStore, LayerStore, parseReference, type Platform } from '../image/index.ts'
import type { Part } from '../model/index.ts'
import { imagesDir } from './home.ts'

/** What was fetched and built here. */
export function imageStore(platform?: Platform): ImageStore {
  // Hosts without TLS and mirrors are the machine's to say, not an app's.
  const words = (name: string): string[] => (process.env[name] ?? '').split(',').filter(Boolean)
  const mirrors = words('STEAD_REGISTRY_MIRRORS').map((pair) => pair.split('='))
  return new ImageStore({
    directory: imagesDir(),
    clock: systemClock,
    registry: {
      credentialFor: fileCredentials(),
      plainHosts: words('STEAD_REGISTRY_PLAIN'),
      mirrorsOf: (host) =>
        mirrors.filter(([of]) => of === host).flatMap(([, mirror]) => (mirror === undefined ? [] : [mirror])),
    },
    ...(platform === undefined ? {} : { platform }),
  })
}

/** Where layers are unpacked on this machine, for all its apps. */
export function layerStore(): LayerStore {
  return new LayerStore(join(imagesDir(), 'layers'))
}

/**
 * What tags stood for when this process first asked: `up`, which looks at the app file again and again, runs what it began
 * with until it is started anew.
 */
const settled = new Map<string, string>()

/** Settles what the image of a part is now, and makes a bundle of it: answers both. Throws what finding and reading an image throws. */
export async function bundleImage(
  bundles: BundleStore,
  images: ImageStore,
  part: Exclude<Part, { kind: 'resource' }>,
  options: { readonly directory: string; readonly onProgress: (line: string) => void; readonly signal: AbortSignal },
): Promise<{ readonly bundle: Bundle; readonly digest: string }> {
  const { directory, onProgress, signal } = options
  const from = part.image?.from ?? ''
  const image = await images.need(settled.get(from) ?? from, { directory, onProgress })
  if (parseReference(from).kind === 'registry') settled.set(from, image.name)
  const severalUsers = part.image?.users === 'image'
  checkProgram(image.config, { run: part.run, user: part.image?.user ?? null, severalUsers }, image.name)
  onProgress(`${image.name} is ${image.digest.slice(0, 19)}`)
  await using scratch = await images.scratch()
  await images.layOut(image, scratch.path)
  const bundle = await bundles.make({
    from: scratch.path,
    runtime: null,
    limits: bundleLimits,
    onProgress,
    signal,
  })
  return { bundle, digest: image.digest }
}
