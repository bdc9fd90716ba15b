/**
 * The code of a release as files: its bundles, and the runtimes that do not belong to a system. Laid out for a backup, and taken
 * into the store of a machine that has nothing.
 *
 * Invariant: what is taken in has the digests that its release names, or is refused.
 */
import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import type { BundleStore, Runtime } from '../artifact/index.ts'
import { SteadError } from '../base/index.ts'

/** The id of code: backups of the same bundles share it. */
export function codeIdOf(bundles: Readonly<Record<string, string>>): string {
  const digests = [...new Set(Object.values(bundles))].toSorted()
  return createHash('sha256').update(digests.join()).digest('hex').slice(0, 20)
}

/** Writes bundles and their runtimes into a directory. Throws `artifact.not-found`. */
export async function layOutCode(store: BundleStore, digests: readonly string[], dir: string): Promise<void> {
  const runtimes = new Map<string, Runtime>()
  for (const digest of new Set(digests)) {
    const contents = await store.contents(digest)
    const keys = new Set(contents.map(({ key }) => key))
    await writeFile(join(dir, `${digest}.contents`), store.exportContents(digest, keys))
    await writeFile(join(dir, `${digest}.manifest`), await store.encodedManifest(digest))
    const runtime = (await store.open(digest))?.manifest.runtime ?? null
    if (runtime !== null) runtimes.set(runtime.digest, runtime)
  }
  for (const [digest, runtime] of runtimes) {
    const exported = await store.exportRuntime(runtime)
    if (exported === null) continue
    await writeFile(join(dir, `${digest}.runtime`), exported.stream)
    await writeFile(
      join(dir, `${digest}.runtime.json`),
      JSON.stringify({ runtime, sizeBytes: exported.content.sizeBytes }),
    )
  }
}

const runtimeSchema = z.object({
  runtime: z.custom<Runtime>((value) => typeof value === 'object' && value !== null && 'digest' in value),
  sizeBytes: z.int().positive(),
})

/** Takes what was laid out into the store. Throws `cli.foreign-backup`, and as the store does. */
export async function takeInCode(store: BundleStore, dir: string): Promise<void> {
  const files = readdirSync(dir)
  for (const file of files.filter((name) => /\.(?:contents|runtime)$/.test(name)))
    await store.importContents(createReadStream(join(dir, file)))
  for (const file of files.filter((name) => name.endsWith('.runtime.json'))) {
    const read = runtimeSchema.safeParse(JSON.parse(readFileSync(join(dir, file), 'utf8')))
    if (!read.success) {
      const message = `the code of the backup names a runtime in a way that is not known here: ${file}`
      throw new SteadError({
        code: 'cli.foreign-backup',
        message,
        hint: 'Use the Stead that made the backup, or a newer one.',
      })
    }
    await store.assembleRuntime(read.data.runtime, read.data.sizeBytes)
  }
  for (const file of files.filter((name) => name.endsWith('.manifest')))
    await store.assemble(readFileSync(join(dir, file)), file.slice(0, -'.manifest'.length))
}
