/** The recipe for Node against this very Node in a sandbox; `conformance-nodes.long.test.ts` has the others. */
import { systemClock, systemRandom } from '../base/index.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { nodeRecipe } from './drivers/node.ts'
import { nodeProgram, probeLine, startSandboxed } from '../../test/debug-programs.ts'

const program = nodeProgram(process.execPath)
const recipe = (): ReturnType<typeof nodeRecipe> =>
  nodeRecipe({ clock: systemClock, random: systemRandom, openMs: 30_000 })
const holder = [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`]
const nested = '({ inner: { api_key: count } })'
const common = { recipe, probeFile: 'ticking.cjs', probeLine, holder, nested }

recipeConformance({
  ...common,
  name: 'node in a sandbox',
  skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(program),
})
