/** How the disk of a system becomes the bundle of its part: with its kernel, if it has one, under names that say what each is. */
import { constants, copyFileSync, linkSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Bundle, bundleLimits, type BundleStore } from '../artifact/index.ts'
import { assert, messageOf, SteadError } from '../base/index.ts'
import type { ImageStore } from '../image/index.ts'
import type { VmUse } from '../model/index.ts'
import { checkKernel, readDisk } from '../sandbox/index.ts'

/** Digests of bundles by what they were made of, because `up` looks again and again and a disk is large. */
const made = new Map<string, string>()

/** Makes the bundle of a system: answers it, and what its disk is. Throws `cli.no-disk`, `sandbox.bad-disk`, and what bundling throws. */
export async function bundleDisk(
  bundles: BundleStore,
  images: Pick<ImageStore, 'scratch'>,
  vm: VmUse,
  options: { readonly directory: string; readonly onProgress: (line: string) => void; readonly signal: AbortSignal },
): Promise<{ readonly bundle: Bundle; readonly digest: string }> {
  const { directory, onProgress, signal } = options
  const files = filesOf(vm, directory)
  const key = JSON.stringify(files.map(({ name, path }) => [name, path, ...stampOf(path)]))
  const known = made.get(key)
  const kept = known === undefined ? null : await bundles.open(known)
  if (kept !== null) return { bundle: kept, digest: digestIn(kept) }
  await using scratch = await images.scratch()
  for (const { name, path } of files) take(path, join(scratch.path, name))
  const bundle = await bundles.make({ from: scratch.path, runtime: null, limits: bundleLimits, onProgress, signal })
  made.set(key, bundle.digest)
  return { bundle, digest: digestIn(bundle) }
}

/** Of the disk: the kernel beside it may be another. */
function digestIn({ manifest }: Bundle): string {
  const disk = manifest.files.find((file) => file.kind === 'file' && file.path.startsWith('disk.'))
  assert(disk?.kind === 'file', 'the bundle of a system has its disk')
  return `sha256:${disk.sha256}`
}

function filesOf(
  { disk, kernel }: VmUse,
  directory: string,
): readonly { readonly name: string; readonly path: string }[] {
  const real = (file: string): string => {
    try {
      return realpathSync(join(directory, file))
    } catch (error) {
      throw new SteadError({
        code: 'cli.no-disk',
        message: `there is no ${file} beside the app file, which a system is to boot from: ${messageOf(error)}`,
        hint: 'Put it there; it is not fetched.',
      })
    }
  }
  const diskPath = real(disk)
  const files = [{ name: `disk.${readDisk(diskPath, kernel !== undefined)}`, path: diskPath }]
  if (kernel === undefined) return files
  const kernelPath = real(kernel.image)
  checkKernel(kernelPath)
  const initrd = kernel.initrd === undefined ? [] : [{ name: 'initrd', path: real(kernel.initrd) }]
  return [...files, { name: 'kernel', path: kernelPath }, ...initrd]
}

function stampOf(path: string): readonly number[] {
  const { ino, size, mtimeMs, ctimeMs } = statSync(path)
  return [ino, size, mtimeMs, ctimeMs]
}

/** By a second name where that can be had: the bundle has a copy of its own in any case. */
function take(path: string, target: string): void {
  try {
    linkSync(path, target)
  } catch {
    copyFileSync(path, target, constants.COPYFILE_FICLONE)
  }
}
