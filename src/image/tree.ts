/**
 * Reads single files of an image from its unpacked layers. Invariant: no link is followed and nothing but a file is opened, so
 * that what is read is the image's own.
 */
import { constants, lstatSync, readdirSync, readSync, closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { tellsContents, type ImageFile } from './sbom.ts'

const textBytesMax = 16 * 2 ** 20
const directoriesMax = 200_000

/** A file by its path, of the uppermost layer that has it; null where there is none, or something else. */
export function readInside(layers: readonly string[], path: string): string | null {
  const names = path.split('/').filter(Boolean)
  for (const layer of layers.toReversed()) {
    const here = names.map((_, depth) =>
      lstatSync(join(layer, ...names.slice(0, depth + 1)), { throwIfNoEntry: false }),
    )
    const missing = here.findIndex((stats) => stats === undefined)
    const way = missing === -1 ? here : here.slice(0, missing)
    const file = here.at(-1)
    const isWay = way.slice(0, missing === -1 ? -1 : undefined).every((stats) => stats?.isDirectory() === true)
    // Something else stands in the way, or in its place: what lies below is covered.
    if (!isWay) return null
    if (missing === -1) return file?.isFile() === true ? readText(join(layer, ...names)) : null
  }
  return null
}

/** The files that tell what is in an image; those of upper layers stand for those below. */
export function filesThatTell(layers: readonly string[]): readonly ImageFile[] {
  const found = new Map<string, ImageFile>()
  let directories = 0
  const walk = (layer: string, inside: string): void => {
    if (++directories > directoriesMax) return
    for (const entry of readdirSync(join(layer, inside), { withFileTypes: true })) {
      const path = inside === '' ? entry.name : `${inside}/${entry.name}`
      if (entry.isDirectory()) walk(layer, path)
      // A device stands for what was removed.
      else if (entry.isCharacterDevice()) {
        for (const covered of found.keys())
          if (covered === path || covered.startsWith(`${path}/`)) found.delete(covered)
      } else if (entry.isFile() && tellsContents(path)) {
        const text = readText(join(layer, path))
        if (text !== null) found.set(path, { path, text })
      }
    }
  }
  for (const layer of layers) walk(layer, '')
  return [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

function readText(path: string): string | null {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const bytes = Buffer.alloc(64 * 1024)
    const parts: Buffer[] = []
    let total = 0
    for (let read = readSync(file, bytes); read > 0; read = readSync(file, bytes)) {
      total += read
      if (total > textBytesMax) return null
      parts.push(Buffer.from(bytes.subarray(0, read)))
    }
    return Buffer.concat(parts).toString('utf8')
  } finally {
    closeSync(file)
  }
}
