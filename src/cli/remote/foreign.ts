/** Bundles for another kind of machine: what in them is made for one kind of machine only. */
import { existsSync, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bundle } from '../../artifact/index.ts'
import { SteadError } from '../../base/index.ts'

/** What kind of machine this is, as a server says it of itself. */
export function ownPlatform(): { readonly platform: string; readonly arch: string } {
  const musl = existsSync('/lib') && readdirSync('/lib').some((name) => name.startsWith('ld-musl-'))
  return { platform: `${process.platform}${musl ? ' with musl' : ''}`, arch: process.arch }
}

/** Files that machines run or load: programs, and libraries by their names. */
const library = /\.(?:node|so|dylib|dll)(?:\.[\d.]+)?$/
/** How programs of Linux, macOS and Windows begin, in hexadecimal. */
const beginnings = /^(?:7f454c46|feedface|feedfacf|cefaedfe|cffaedfe|cafebabe|4d5a)/

/** The files of a bundle that hold machine code. */
export async function machineCode({ manifest, path }: Bundle): Promise<string[]> {
  const found: string[] = []
  for (const file of manifest.files) {
    if (file.kind !== 'file' || file.sizeBytes < 4 || !(file.executable || library.test(file.path))) continue
    await using handle = await open(join(path, file.path), 'r')
    const { buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    if (beginnings.test(buffer.toString('hex'))) found.push(file.path)
  }
  return found
}

/** Throws `cli.foreign-code`. `there`: the kind of machine it is to run on. */
export async function refuseMachineCode(bundles: ReadonlyMap<string, Bundle>, there: string): Promise<void> {
  for (const [part, bundle] of bundles) {
    const files = await machineCode(bundle)
    if (files.length === 0) continue
    const { platform, arch } = ownPlatform()
    const named = files.slice(0, 3).join(', ')
    throw new SteadError({
      code: 'cli.foreign-code',
      message: `${part} holds code for ${platform} ${arch}, and the server is ${there}: ${named}${files.length > 3 ? `, and ${files.length - 3} more` : ''}`,
      hint: 'Deploy from a machine of the same kind as the server, or do without these packages.',
    })
  }
}
