/**
 * Programs that are a part of Stead itself and run as servers of resources, in a sandbox that cannot read where Stead lies
 * (a checkout below a closed home): the modules that an entry needs, and the Node that runs it, become trees of the bundle
 * store. Types are stripped on the way, because a Node that strips them keeps 16 MB for it.
 *
 * Invariants: a tree is named by its content, so equal code is copied once; nothing is copied before it is first asked for,
 * so that it costs `stead up` nothing; an entry needs nothing but Node and other modules of Stead.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, extname, join, posix } from 'node:path'
import { runtimeRoot, type BundleStore } from '../artifact/index.ts'
import { assert } from '../base/index.ts'
import type { FindOwnProgram, OwnProgram } from '../provider/index.ts'
import type { SandboxDriver } from '../sandbox/index.ts'

/** Where the code of this Stead lies, and how its modules end: `src` and `.ts`, or `dist` and `.js`. */
const code = join(import.meta.dirname, '..')
const ending = extname(import.meta.filename)
/** Modules of one program. */
const modulesMax = 500
/** What every program of Stead is told not to say, and the small memory that it is to keep to. */
const nodeFlags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=2']

/** What finds them on a machine. */
export function ownPrograms(
  bundles: Pick<BundleStore, 'materialiseTree' | 'resolveRuntime'>,
  sandbox: Pick<SandboxDriver, 'capabilities'>,
): FindOwnProgram {
  const known = new Map<string, Promise<OwnProgram>>()
  return (entries) => {
    const key = entries.join(' ')
    const program = known.get(key) ?? find(bundles, sandbox, entries)
    known.set(key, program)
    // What failed, on a full disk, is tried again.
    program.catch(() => known.delete(key))
    return program
  }
}

async function find(
  bundles: Pick<BundleStore, 'materialiseTree' | 'resolveRuntime'>,
  { capabilities }: Pick<SandboxDriver, 'capabilities'>,
  entries: readonly string[],
): Promise<OwnProgram> {
  const [entry] = entries
  assert(entry !== undefined, 'a program without an entry')
  // Without a sandbox everything is read where it is.
  if (capabilities.isolation === 'refused')
    return { argv: [process.execPath, ...nodeFlags, join(code, entry + ending)], reads: [] }
  const node = await bundles.resolveRuntime('node')
  const runtime = node.mounts.find(({ target }) => target === runtimeRoot)
  assert(runtime !== undefined, 'a runtime without its tree')
  const tree = await copyModules(bundles, entries)
  const argv = [join(runtime.source, 'bin', 'node'), ...nodeFlags, join(tree, `${entry}.js`)]
  return { argv, reads: [runtime.source, tree] }
}

/** The entries and all that they import, as JavaScript in one tree; answers where it is. */
async function copyModules(bundles: Pick<BundleStore, 'materialiseTree'>, entries: readonly string[]): Promise<string> {
  const modules = await modulesOf(entries)
  const work = await mkdtemp(join(tmpdir(), 'stead-own-'))
  try {
    for (const [path, text] of modules) {
      await mkdir(join(work, dirname(path)), { recursive: true })
      await writeFile(join(work, `${path}.js`), text)
    }
    await writeFile(join(work, 'package.json'), '{ "type": "module" }\n')
    return (await bundles.materialiseTree(work)).path
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The text of each module by its path below the code, without its ending. */
async function modulesOf(entries: readonly string[]): Promise<Map<string, string>> {
  const modules = new Map<string, string>()
  const left = [...entries]
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (modules.has(path)) continue
    assert(modules.size < modulesMax, `a program of more than ${modulesMax} modules`)
    const source = await readFile(join(code, path + ending), 'utf8')
    const plain = ending === '.ts' ? stripTypeScriptTypes(source) : source
    const from = path
    const text = plain.replaceAll(importPattern, (statement, before: string, target: string) => {
      if (target.startsWith('node:')) return statement
      assert(target.startsWith('.') && target.endsWith(ending), `${from} imports ${target}, which is not of Stead`)
      const bare = target.slice(0, -ending.length)
      left.push(posix.join(posix.dirname(from), bare))
      return `${before}'${bare}.js'`
    })
    for (const [, target = ''] of text.matchAll(lazyPattern))
      assert(target.startsWith('node:'), `${from} imports ${target}, which is not of Stead`)
    modules.set(path, text)
  }
  return modules
}

/** An import where it is used: what it names is not looked for, so it can only be of Node. */
const lazyPattern = /\bimport\(\s*['"]([^'"]+)['"]/g

/** What an import or export of another module ends with; the quotes are the formatter's, and the compiler's own. */
const importPattern = /^((?:import|export)\b[^'";]*?\bfrom\s+|\}\s*from\s+|import\s+)['"]([^'"]+)['"]/gm
