/**
 * What a domain knows about itself, as a value: which tree is live, which copies there are, and the generation. Pure:
 * each change is a function from a catalog to the next one.
 *
 * Invariant: a tree belongs to the domain if and only if the catalog names it. The catalog is replaced whole, so every
 * change, a swap too, has one moment at which it happens, and whatever a crash leaves half made is known by not being named.
 */
import { SteadError } from '../base/index.ts'
import * as z from 'zod'
import type { DomainCopy } from './driver.ts'

const catalogVersion = 1
const copiesMax = 1000

export interface CatalogCopy {
  readonly name: string
  readonly kind: DomainCopy['kind']
  readonly tree: number
  readonly createdAtMs: number
  readonly generation: number
}

export interface Catalog {
  readonly version: number
  readonly driver: string
  readonly id: string
  readonly home: string
  readonly generation: number
  /** The tree that is live. */
  readonly live: number
  /** The number of the next tree; no number is used twice. */
  readonly nextTree: number
  /** Oldest first. */
  readonly copies: readonly CatalogCopy[]
}

const count: z.ZodType<number> = z.int().positive()

const catalogSchema: z.ZodType<Catalog> = z.strictObject({
  version: z.literal(catalogVersion),
  driver: z.string(),
  id: z.string(),
  home: z.string(),
  generation: count,
  live: count,
  nextTree: count,
  copies: z
    .array(
      z.strictObject({
        name: z.string(),
        kind: z.enum(['checkpoint', 'clone', 'branch']),
        tree: count,
        createdAtMs: z.number(),
        generation: count,
      }),
    )
    .max(copiesMax),
})

/** The catalog of a new domain: tree 1 is live, generation 1, no copies. */
export function newCatalog(driver: string, id: string, home: string): Catalog {
  return { version: catalogVersion, driver, id, home, generation: 1, live: 1, nextTree: 2, copies: [] }
}

/** The text that is stored. */
export function encodeCatalog(catalog: Catalog): string {
  return `${JSON.stringify(catalog, null, 2)}\n`
}

/** Reads a stored catalog; `path` names it in errors. Throws `domain.newer-version`, `domain.corrupt`. */
export function decodeCatalog(text: string, path: string): Catalog {
  const parsed = parseJson(text)
  const version = z.object({ version: z.int() }).safeParse(parsed)
  if (version.success && version.data.version > catalogVersion) {
    throw new SteadError({
      code: 'domain.newer-version',
      message: `${path} is of format version ${version.data.version}, and this program knows versions up to ${catalogVersion}.`,
      hint: 'Run the program that wrote it, or a newer one.',
    })
  }
  const catalog = catalogSchema.safeParse(parsed)
  if (!catalog.success) throw corrupt(path, catalog.error.issues[0]?.message ?? 'it is not a catalog')
  const trees = treesOf(catalog.data)
  if (new Set(trees).size !== trees.length) throw corrupt(path, 'two entries name the same tree')
  if (trees.some((tree) => tree >= catalog.data.nextTree)) throw corrupt(path, 'a tree has a number not yet given out')
  if (new Set(catalog.data.copies.map((copy) => copy.name)).size !== catalog.data.copies.length) {
    throw corrupt(path, 'two copies have the same name')
  }
  return catalog.data
}

/** The error for a domain whose own records cannot be believed. */
export function corrupt(path: string, why: string): SteadError {
  return new SteadError({
    code: 'domain.corrupt',
    message: `The domain's record ${path} cannot be used: ${why}.`,
    hint: 'The data beside it has not been touched. Put the record back from a backup; it is one small file.',
  })
}

/** All trees that belong to the domain, the live one first. */
export function treesOf(catalog: Catalog): readonly number[] {
  return [catalog.live, ...catalog.copies.map((copy) => copy.tree)]
}

/** The copy of that name. Throws `domain.unknown-copy`. */
export function copyNamed(catalog: Catalog, name: string): CatalogCopy {
  const copy = catalog.copies.find((candidate) => candidate.name === name)
  if (copy !== undefined) return copy
  const names = catalog.copies.map((candidate) => candidate.name)
  throw new SteadError({
    code: 'domain.unknown-copy',
    message: `The domain ${catalog.id} has no copy named ${JSON.stringify(name)}.`,
    hint: names.length === 0 ? 'It has no copies at all.' : `It has ${names.slice(-10).join(', ')}.`,
  })
}

/** With one copy more, its tree marked as given out. Throws `domain.bad-name`, `domain.exists`, `domain.too-many-copies`. */
export function withCopy(catalog: Catalog, copy: CatalogCopy): Catalog {
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(copy.name)) {
    throw new SteadError({
      code: 'domain.bad-name',
      message: `${JSON.stringify(copy.name)} cannot name a copy of the domain ${catalog.id}.`,
      hint: 'Use letters, digits, dots and dashes, beginning with a letter or digit, 63 at most.',
    })
  }
  if (catalog.copies.some((candidate) => candidate.name === copy.name)) {
    throw new SteadError({
      code: 'domain.exists',
      message: `The domain ${catalog.id} already has a copy named ${copy.name}.`,
      hint: 'Take another name, or delete that copy first.',
    })
  }
  if (catalog.copies.length >= copiesMax) {
    throw new SteadError({
      code: 'domain.too-many-copies',
      message: `The domain ${catalog.id} has ${copiesMax} copies, which is the limit.`,
      hint: 'Delete old checkpoints.',
    })
  }
  return { ...catalog, copies: [...catalog.copies, copy], nextTree: Math.max(catalog.nextTree, copy.tree + 1) }
}

/** Without the copy of that name. Throws `domain.unknown-copy`. */
export function withoutCopy(catalog: Catalog, name: string): Catalog {
  const gone = copyNamed(catalog, name)
  return { ...catalog, copies: catalog.copies.filter((copy) => copy !== gone) }
}

/**
 * The clone `name` live, what was live kept as the branch `keepAs`, the generation one higher.
 * Throws `domain.generation-changed`, `domain.unknown-copy`, `domain.not-a-clone`, and what `withCopy` throws.
 */
export function swapped(
  catalog: Catalog,
  name: string,
  keepAs: string,
  expectedGeneration: number,
  nowMs: number,
): Catalog {
  if (catalog.generation !== expectedGeneration) {
    throw new SteadError({
      code: 'domain.generation-changed',
      message: `The domain ${catalog.id} is at generation ${catalog.generation}, not ${expectedGeneration}.`,
      hint: 'Its data was exchanged meanwhile; look at it again and decide anew.',
    })
  }
  const clone = copyNamed(catalog, name)
  if (clone.kind !== 'clone') {
    throw new SteadError({
      code: 'domain.not-a-clone',
      message: `The ${clone.kind} ${name} of the domain ${catalog.id} cannot become the live data.`,
      hint: 'Clone it, and swap to the clone: a checkpoint or branch stays what it is.',
    })
  }
  const branch: CatalogCopy = {
    name: keepAs,
    kind: 'branch',
    tree: catalog.live,
    createdAtMs: nowMs,
    generation: catalog.generation,
  }
  return {
    ...withCopy(withoutCopy(catalog, name), branch),
    live: clone.tree,
    generation: catalog.generation + 1,
  }
}

/** A copy as its users see it. */
export function seen(copy: CatalogCopy, path: string): DomainCopy {
  return { name: copy.name, kind: copy.kind, path, createdAtMs: copy.createdAtMs, generation: copy.generation }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
