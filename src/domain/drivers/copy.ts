/**
 * Trees as plain directories, for machines without btrfs, without root, and for macOS. Copies take the time and, where the
 * disk cannot share blocks, the space of the data; whoever writes must be stopped meanwhile. That is looked after: a tree
 * that changed while it was copied gives no copy.
 */
import { cp, lstat, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, SteadError } from '../../base/index.ts'
import type { DomainCapabilities, DomainDriver, OpenDomain } from '../driver.ts'
import { defaultReserveBytes, ensureRoom, layout, usageOf } from './files.ts'
import { run, runLong } from './tool.ts'
import { destroyTreeDomain, openTreeDomain } from './tree-domain.ts'
import type { Trees } from './trees.ts'

export interface CopyOptions {
  readonly clock: Clock
  /** Why this driver was taken and how to get a stronger one, one line each. */
  readonly weaker?: readonly string[]
  /** `cp`: GNU cp, which keeps all there is to keep; `node`: files, links and modes only. Default: cp on Linux. */
  readonly copyWith?: 'cp' | 'node'
  /** What the disk must keep free, in bytes, given its size; default the larger of 5 % and 1 GB. */
  readonly reserveBytes?: (totalBytes: number) => number
}

/** The driver that works everywhere. */
export function copyDriver(options: CopyOptions): DomainDriver {
  const { clock, reserveBytes = defaultReserveBytes } = options
  const copyWith = options.copyWith ?? (process.platform === 'linux' ? 'cp' : 'node')
  const capabilities: DomainCapabilities = {
    quiesce: 'stop',
    instant: false,
    sizeLimit: false,
    replicate: 'refused',
    weaker: [
      'copies are plain directories: their time and space grow with the data, and only permissions protect a checkpoint',
      ...(copyWith === 'node' ? ['owners, hard links and holes in files are not kept in copies'] : []),
      ...(options.weaker ?? []),
    ],
  }
  const driver = {
    name: 'copy',
    clock,
    async prepare({ root }: OpenDomain, known: boolean): Promise<Trees> {
      if (!known) await ensureRoom(`make a domain under ${root}`, root, 0, reserveBytes)
      await mkdir(layout(root).trees, { recursive: true })
      const copy = copyWith === 'cp' ? copyWithCp : copyWithNode
      return directories({ root, driver: 'copy', capabilities, copy, reserveBytes, isWhole: true })
    },
  }
  return {
    name: driver.name,
    capabilities,
    open: (domain) => openTreeDomain(driver, domain),
    destroy: (root) => destroyTreeDomain(root, () => Promise.resolve()),
  }
}

/** Trees that are plain directories, and how they are copied. */
export interface Directories {
  readonly root: string
  /** Name of the driver, for messages. */
  readonly driver: string
  readonly capabilities: DomainCapabilities
  readonly copy: (from: string, to: string) => Promise<void>
  readonly reserveBytes: (totalBytes: number) => number
  /** Whether a copy needs the room of the whole. */
  readonly isWhole: boolean
  readonly grow?: (sizeBytes: number) => Promise<void>
  readonly close?: () => Promise<void>
}

/** Makes trees of them. A tree that changes while it is copied gives no copy. */
export function directories({
  root,
  driver,
  capabilities,
  copy,
  reserveBytes,
  isWhole,
  grow,
  close,
}: Directories): Trees {
  const refuse = (what: string): SteadError =>
    new SteadError({
      code: 'domain.refused',
      message: `The domain under ${root} cannot ${what}: the driver ${driver} has no stream of a checkpoint.`,
      hint: 'Replication needs the driver btrfs on both sides: Linux, root, btrfs-progs.',
    })
  return {
    capabilities,
    create: (path) => mkdir(path),
    async copy(from, to) {
      const before = await look(from)
      await ensureRoom(`copy ${from}`, layout(root).trees, isWhole ? before.bytes : 0, reserveBytes)
      await copy(from, to)
      const after = await look(from)
      if (after.files !== before.files || after.length !== before.length || after.changedNs !== before.changedNs) {
        throw new SteadError({
          code: 'domain.not-still',
          message: `${from} was written to while it was copied, so the copy is of no one moment and was not kept.`,
          hint: 'Stop what writes there, then try again.',
          retry: 'later',
        })
      }
      await syncDisk(to)
    },
    // A program that copies may outlive the one that was killed while it waited for it: it fails once its target is gone.
    remove: (path) => rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }),
    sync: syncDisk,
    send() {
      throw refuse('be replicated')
    },
    receive: () => Promise.reject(refuse('receive a replica')),
    usage: () => usageOf(layout(root).trees),
    // Where the disk shares blocks between copies, how many are shared is not known here.
    ownBytes: () => Promise.resolve(null),
    grow: grow ?? (() => Promise.resolve()),
    close: close ?? (() => Promise.resolve()),
  }
}

async function copyWithCp(from: string, to: string): Promise<void> {
  await runLong(`copy ${from}`, ['cp', '--archive', '--reflink=auto', '--no-target-directory', from, to])
}

async function copyWithNode(from: string, to: string): Promise<void> {
  const isData = async (path: string): Promise<boolean> => {
    const found = await lstat(path)
    return found.isFile() || found.isDirectory() || found.isSymbolicLink()
  }
  await cp(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true, filter: isData })
}

/** Writes the caches of the disk that holds `path`: one call, however many files. */
async function syncDisk(path: string): Promise<void> {
  await run(`make ${path} durable`, process.platform === 'linux' ? ['sync', '--file-system', path] : ['sync'])
}

interface Look {
  files: number
  /** What is held on the disk: it also changes when the file system puts in order what was written long before. */
  bytes: number
  /** Of all files together. */
  length: number
  /** The last change of anything in the tree. */
  changedNs: bigint
}

/** A look at all of a tree's entries: what has to be copied, and by comparing two looks, whether it changed. */
async function look(tree: string): Promise<Look> {
  const total: Look = { files: 0, bytes: 0, length: 0, changedNs: 0n }
  const pending = [tree]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const found = await lstat(path, { bigint: true })
    total.files += 1
    total.bytes += Number(found.blocks) * 512
    total.length += Number(found.size)
    if (found.ctimeNs > total.changedNs) total.changedNs = found.ctimeNs
    if (found.isDirectory()) for (const name of await readdir(path)) pending.push(join(path, name))
  }
  return total
}
