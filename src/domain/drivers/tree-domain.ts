/**
 * A domain over a driver's trees. Every tree has a number and lies in `trees/N/data`; the catalog says which is live and
 * which are copies under what name. A change makes its tree first, then replaces the catalog, and that is the moment at
 * which it happens; a removal replaces the catalog first. So a crash leaves at most a tree that no catalog names, and
 * open() removes those.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Clock, SteadError, UndoStack, isSteadError, messageOf, systemCodeOf } from '../../base/index.ts'
import {
  type Catalog,
  copyNamed,
  corrupt,
  newCatalog,
  seen,
  swapped,
  treesOf,
  withCopy,
  withoutCopy,
} from '../catalog.ts'
import type {
  Domain,
  DomainCapabilities,
  DomainCopy,
  DomainUsage,
  OpenDomain,
  Replica,
  ReplicaTarget,
} from '../driver.ts'
import { Turns } from '../turns.ts'
import { CatalogFile, layout, unexpected } from './files.ts'
import { takeLock } from './lock.ts'
import type { Trees } from './trees.ts'

/** What a driver adds to the opening of a domain. */
export interface TreeDriver {
  readonly name: string
  readonly clock: Clock
  /** Makes `trees/` usable: for a new domain if `known` is false, else as it was left. */
  prepare(options: OpenDomain, known: boolean): Promise<Trees>
}

/** Opens or makes the domain under `options.root` with the trees of `driver`. */
export async function openTreeDomain(driver: TreeDriver, options: OpenDomain): Promise<Domain> {
  try {
    return await openTrees(driver, options)
  } catch (error) {
    // What the system refuses (no such directory, no permission) is no bug of ours.
    throw systemCodeOf(error) === undefined || isSteadError(error) ? error : unexpected(`open ${options.root}`, error)
  }
}

async function openTrees(driver: TreeDriver, options: OpenDomain): Promise<Domain> {
  const { root, id, home } = options
  await mkdir(root, { recursive: true })
  await using undo = new UndoStack()
  const lock = takeLock(layout(root).lock)
  undo.push('let go of the lock', () => lock[Symbol.dispose]())
  const file = new CatalogFile(root)
  const stored = await file.read()
  if (stored !== null) ensureSame(stored, driver.name, options)
  const trees = await driver.prepare(options, stored !== null)
  // A mount that somebody uses stays; the next open finds it.
  undo.push('let go of the trees', () => trees.close().catch(() => undefined))
  const catalog = stored === null ? newCatalog(driver.name, id, home) : { ...stored, home }
  if (stored === null) await makeFirstTree(root, trees)
  else await tidy(root, trees, catalog)
  if (stored?.home !== home) await file.replace(catalog)
  await file.settle()
  undo.commit()
  return new TreeDomain(root, file, catalog, trees, lock, driver.clock)
}

/** Deletes the domain under `root` and all its copies; `removeTrees` does the driver's part. Can be done again after a crash. */
export async function destroyTreeDomain(root: string, removeTrees: () => Promise<void>): Promise<void> {
  if (!existsSync(root)) return
  const { lock, trees, image, catalog, ballast } = layout(root)
  using _held = takeLock(lock)
  await removeTrees()
  await rm(trees, { recursive: true, force: true })
  for (const file of [image, ballast, `${catalog}.new`, catalog, lock]) await rm(file, { force: true })
  await rmdir(root).catch(() => undefined) // the caller may keep things of his own there
}

function ensureSame(catalog: Catalog, driver: string, { id, root }: OpenDomain): void {
  if (catalog.driver !== driver) {
    throw new SteadError({
      code: 'domain.other-driver',
      message: `The domain under ${root} was made by the driver ${catalog.driver}, and ${driver} was to open it.`,
      hint: `Open it with ${catalog.driver}; to change the driver, copy the data to a new domain.`,
    })
  }
  if (catalog.id !== id) {
    throw new SteadError({
      code: 'domain.other-domain',
      message: `${root} holds the domain ${catalog.id}, not ${id}.`,
      hint: 'Give each domain a root of its own.',
    })
  }
}

/** The numbers of the trees that are there, whether a catalog names them or not. */
export async function treesOnDisk(root: string): Promise<readonly number[]> {
  return (await readdir(layout(root).trees).catch(() => [])).filter((name) => /^[1-9]\d*$/.test(name)).map(Number)
}

async function makeFirstTree(root: string, trees: Trees): Promise<void> {
  const first = dataOf(root, 1)
  for (const tree of await treesOnDisk(root)) {
    const found = await readdir(dataOf(root, tree)).catch(() => [])
    if (tree !== 1 || found.length > 0)
      throw corrupt(layout(root).catalog, 'it is missing, but there is data beside it')
  }
  await removeTree(root, trees, 1)
  await mkdir(dirname(first))
  await trees.create(first)
}

/** Removes what crashes have left, and makes sure that all is there that the catalog names. */
async function tidy(root: string, trees: Trees, catalog: Catalog): Promise<void> {
  const named = new Set(treesOf(catalog))
  const onDisk = await treesOnDisk(root)
  const missing = [...named].find((tree) => !onDisk.includes(tree))
  if (missing !== undefined) throw corrupt(layout(root).catalog, `it names the tree ${missing}, which is not there`)
  for (const tree of onDisk) if (!named.has(tree)) await removeTree(root, trees, tree)
}

function dataOf(root: string, tree: number): string {
  return join(layout(root).trees, String(tree), 'data')
}

async function removeTree(root: string, trees: Trees, tree: number): Promise<void> {
  const data = dataOf(root, tree)
  await trees.remove(data)
  await rm(dirname(data), { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
}

class TreeDomain implements Domain {
  readonly #root: string
  readonly #file: CatalogFile
  readonly #trees: Trees
  readonly #lock: Disposable
  readonly #clock: Clock
  readonly #turns = new Turns()
  /** For each replication under way, the copies it needs. */
  readonly #transfers = new Set<readonly string[]>()
  #catalog: Catalog
  #nextTree: number
  #closed = false

  constructor(root: string, file: CatalogFile, catalog: Catalog, trees: Trees, lock: Disposable, clock: Clock) {
    this.#root = root
    this.#file = file
    this.#catalog = catalog
    this.#nextTree = catalog.nextTree
    this.#trees = trees
    this.#lock = lock
    this.#clock = clock
  }

  get id(): string {
    return this.#catalog.id
  }

  get home(): string {
    return this.#catalog.home
  }

  get generation(): number {
    return this.#catalog.generation
  }

  get path(): string {
    return this.#path(this.#catalog.live)
  }

  get capabilities(): DomainCapabilities {
    return this.#trees.capabilities
  }

  checkpoint(name: string): Promise<DomainCopy> {
    const make = (path: string): Promise<void> => this.#trees.copy(this.path, path, true)
    return this.#turn(() => this.#add({ name, kind: 'checkpoint' }, make))
  }

  clone(name: string, from: string | null): Promise<DomainCopy> {
    return this.#turn(() => {
      const source = from === null ? this.#catalog.live : copyNamed(this.#catalog, from).tree
      return this.#add({ name, kind: 'clone' }, (path) => this.#trees.copy(this.#path(source), path, false))
    })
  }

  grow(sizeBytes: number): Promise<void> {
    return this.#turn(() => this.#trees.grow(sizeBytes))
  }

  async list(): Promise<readonly DomainCopy[]> {
    this.#ensureOpen()
    return this.#catalog.copies.map((copy) => seen(copy, this.#path(copy.tree)))
  }

  delete(name: string): Promise<void> {
    return this.#turn(async () => {
      const { tree } = copyNamed(this.#catalog, name)
      if ([...this.#transfers].some((names) => names.includes(name)))
        throw busy(`The copy ${name} of the domain ${this.id} is being replicated.`)
      await this.#commit(withoutCopy(this.#catalog, name))
      try {
        await removeTree(this.#root, this.#trees, tree)
      } catch (cause) {
        throw new SteadError({
          code: 'domain.not-freed',
          message: `The copy ${name} of the domain ${this.id} is deleted, but its space is not free yet: ${messageOf(cause)}`,
          hint: 'It is freed when the domain is opened the next time.',
          cause,
        })
      }
    })
  }

  swap(name: string, keepAs: string, expectedGeneration: number): Promise<void> {
    return this.#turn(async () => {
      const next = swapped(this.#catalog, name, keepAs, expectedGeneration, this.#clock.nowMs())
      await this.#trees.sync(this.#path(next.live))
      await this.#commit(next)
    })
  }

  async replicate(name: string, target: ReplicaTarget): Promise<void> {
    this.#ensureOpen()
    const path = (copy: string): string => this.#path(copyNamed(this.#catalog, copy).tree)
    const base = target.base === undefined ? [] : [target.base]
    const stream = this.#trees.send(path(name), base.map(path)[0] ?? null)
    await this.#transfer([name, ...base], () => target.receive(stream))
  }

  receive(replica: Replica, stream: AsyncIterable<Uint8Array>): Promise<DomainCopy> {
    const make = (path: string): Promise<void> => this.#trees.receive(path, stream)
    // Only its end takes a turn: a slow sender does not hold up checkpoints.
    const add = (): Promise<DomainCopy> => this.#add({ ...replica, kind: 'checkpoint' }, make, (end) => this.#turn(end))
    this.#ensureOpen()
    return this.#transfer([], add)
  }

  async usage(): Promise<DomainUsage> {
    this.#ensureOpen()
    return this.#trees.usage()
  }

  async ownBytes(name: string): Promise<number | null> {
    this.#ensureOpen()
    return this.#trees.ownBytes(this.#path(copyNamed(this.#catalog, name).tree))
  }

  close(): Promise<void> {
    return this.#letGo(() => this.#trees.close())
  }

  leave(): Promise<void> {
    return this.#letGo(() => Promise.resolve())
  }

  #letGo(first: () => Promise<void>): Promise<void> {
    if (this.#closed) return Promise.resolve()
    return this.#turn(async () => {
      if (this.#transfers.size > 0) throw busy(`Copies of the domain ${this.id} are being replicated.`)
      await first()
      this.#closed = true
      this.#lock[Symbol.dispose]()
    })
  }

  /** Makes a tree and then, in a turn of its own if the caller has none, a copy from it; when anything fails there is neither. */
  async #add(
    copy: { name: string; kind: DomainCopy['kind']; createdAtMs?: number; generation?: number },
    make: (path: string) => Promise<void>,
    inTurn: (end: () => Promise<void>) => Promise<void> = (end) => end(),
  ): Promise<DomainCopy> {
    const { generation } = this.#catalog
    const tree = this.#nextTree++
    const added = { createdAtMs: this.#clock.nowMs(), generation, ...copy, tree }
    withCopy(this.#catalog, added) // refuses a bad name before the work
    await using undo = new UndoStack()
    // What cannot be removed now is removed by the next open: no catalog names it.
    undo.push('remove the half-made copy', () => removeTree(this.#root, this.#trees, tree).catch(() => undefined))
    await mkdir(dirname(this.#path(tree)))
    await make(this.#path(tree))
    await inTurn(() => this.#commit(withCopy(this.#catalog, added), () => undo.commit()))
    return seen(added, this.#path(tree))
  }

  async #transfer<T>(needs: readonly string[], work: () => Promise<T>): Promise<T> {
    this.#transfers.add(needs)
    try {
      return await work()
    } finally {
      this.#transfers.delete(needs)
    }
  }

  /** The moment at which a change happens. After it nothing is undone, even if making it durable fails. */
  async #commit(next: Catalog, happened: () => void = () => undefined): Promise<void> {
    await this.#file.replace(next)
    this.#catalog = next
    happened()
    await this.#file.settle()
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.take(() => {
      this.#ensureOpen()
      return work()
    })
  }

  #path(tree: number): string {
    return dataOf(this.#root, tree)
  }

  #ensureOpen(): void {
    if (!this.#closed) return
    throw new SteadError({
      code: 'domain.closed',
      message: `The domain ${this.id} was closed.`,
      hint: 'Open it again.',
    })
  }
}

function busy(message: string): SteadError {
  return new SteadError({ code: 'domain.busy', message, hint: 'Ask again when that has ended.', retry: 'later' })
}
