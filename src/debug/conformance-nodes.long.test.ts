/** The recipe for Node against every Node on this machine, as a plain process and in a sandbox. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock, systemRandom } from '../base/index.ts'
import { olderNode } from '../../test/debug-tools.ts'
import { isOpen } from '../../test/machine-parts.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { nodeRecipe } from './drivers/node.ts'
import { nodeProgram, probeLine, startPlain, startSandboxed } from '../../test/debug-programs.ts'

/** More of them by their paths, as in `STEAD_NODES=/opt/node-24/bin/node`. */
const named = (process.env['STEAD_NODES'] ?? '').split(':').filter((path) => path !== '')
const nodes = [process.execPath, '/usr/bin/node', olderNode, ...named].filter((path) => existsSync(path))
const recipe = (): ReturnType<typeof nodeRecipe> =>
  nodeRecipe({ clock: systemClock, random: systemRandom, openMs: 30_000 })
const holder = [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`]
const nested = '({ inner: { api_key: count } })'
const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

for (const node of new Set(nodes)) {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
  const common = { recipe, probeFile: 'ticking.cjs', probeLine, holder, nested }
  const program = nodeProgram(node)
  recipeConformance({ ...common, name: `node ${version}`, skip: false, start: startPlain(program) })
  const reachable = isOpen(dirname(node)) ? false : `needs ${node} where every user may go`
  const missing = needsAll(skip, reachable)
  recipeConformance({ ...common, name: `node ${version} in a sandbox`, skip: missing, start: startSandboxed(program) })
}
