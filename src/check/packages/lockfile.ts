/**
 * npm's lock files, versions 2 and 3: what is installed, from where, and with which checksum. Other lock files are not read,
 * and said not to be.
 */
import type { Inventory, LockedPackage, Subject } from '../inventory.ts'
import { placeOf } from '../inventory.ts'
import { readJson } from '../json-text.ts'
import type { SourceFile } from '../source.ts'
import { at, booleanOf, entriesOf, numberOf, textOf } from '../tree.ts'
import type { Tree } from '../tree.ts'

export function isLockFile(path: string): boolean {
  return /(?:^|\/)(?:package-lock|npm-shrinkwrap)\.json$/.test(path)
}

/** Whether the file is a lock file or manifest that the dependency checks know of. */
export function isPackageFile(path: string): boolean {
  return (
    isLockFile(path) ||
    /(?:^|\/)(?:package\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lock|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum|Gemfile\.lock|composer\.lock)$/.test(
      path,
    )
  )
}

/** Adds a lock file, or says that its kind is not read. */
export function readPackageFile(source: SourceFile, inventory: Inventory): void {
  if (isLockFile(source.path)) return readLock(source, inventory)
  if (source.path.endsWith('package.json')) return readManifest(source, inventory)
  const subject: Subject = {
    platform: 'npm',
    kind: 'lock file',
    name: source.path,
    namespace: '',
    source,
    tree: nothing,
    path: [],
    documentStart: 0,
  }
  inventory.unknowns.push(subject)
}

const nothing: Tree = { kind: 'map', offset: 0, entries: new Map(), size: 1 }

function readLock(source: SourceFile, inventory: Inventory): void {
  const { tree, problems } = readJson(source)
  inventory.problems.push(...problems)
  if (tree === null) return
  const subject: Subject = {
    platform: 'npm',
    kind: 'lock file',
    name: textOf(at(tree, 'name')) ?? source.path,
    namespace: '',
    source,
    tree,
    path: [],
    documentStart: 0,
  }
  const version = numberOf(at(tree, 'lockfileVersion'))
  if (version !== 2 && version !== 3) {
    const message = `the lock file has version ${version ?? '(none)'}, and 2 and 3 are read`
    inventory.problems.push({
      code: 'check.unknown-version',
      message,
      hint: 'npm 7 and later write those.',
      place: placeOf(subject, 'lockfileVersion'),
    })
    return
  }
  const packages = entriesOf(at(tree, 'packages'))
    .filter(([path, { value }]) => path.includes('node_modules/') && booleanOf(at(value, 'link')) !== true)
    .map(([path, { value }]) => lockedPackage(path, value))
  inventory.lockFiles.push({ ...subject, packages })
}

function lockedPackage(path: string, value: Tree): LockedPackage {
  const flag = (name: string): boolean => booleanOf(at(value, name)) === true
  const folder = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  return {
    name: textOf(at(value, 'name')) ?? folder,
    version: textOf(at(value, 'version')) ?? '',
    resolved: textOf(at(value, 'resolved')) ?? null,
    integrity: textOf(at(value, 'integrity')) ?? null,
    installScript: flag('hasInstallScript'),
    development: flag('dev'),
    bundled: flag('inBundle'),
    license: textOf(at(value, 'license')) ?? null,
    path: ['packages', path],
  }
}

/** A manifest is looked at for one question only: whether what it asks for is pinned by a lock file beside it. */
function readManifest(source: SourceFile, inventory: Inventory): void {
  const { tree } = readJson(source)
  if (tree === null) return
  const dependencies = entriesOf(at(tree, 'dependencies'))
  if (dependencies.length === 0) return
  const subject: Subject = {
    platform: 'npm',
    kind: 'manifest',
    name: textOf(at(tree, 'name')) ?? source.path,
    namespace: '',
    source,
    tree,
    path: [],
    documentStart: 0,
  }
  inventory.manifests.push({
    ...subject,
    dependencies: dependencies.map(([name, { value }]) => ({ name, range: textOf(value) ?? '' })),
  })
}
