/** The recipe for Go against a program made here, as a plain process and in a sandbox that holds nothing but it. */
import { systemClock } from '../base/index.ts'
import { goProgram, probeLine, startPlain, startSandboxed } from '../../test/debug-programs.ts'
import { useDebugTools } from '../../test/debug-tools.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { goRecipe } from './drivers/go.ts'
import { findOnPath } from './drivers/tools.ts'

useDebugTools()

const delve = findOnPath('dlv')
const compiler = findOnPath('go')
const common = {
  recipe: (): ReturnType<typeof goRecipe> => goRecipe({ clock: systemClock, delve }),
  probeFile: 'ticking.go',
  probeLine,
  // What delve does when we are killed is its own affair, and at a line that is passed all the time not always well.
  holder: null,
}
const skip = needsAll(
  delve === null ? 'needs delve: npm run debug-tools' : false,
  compiler === null ? 'needs go' : false,
  needsRoot(),
)
const program = goProgram(compiler ?? 'go')

recipeConformance({ ...common, name: 'go', skip, start: startPlain(program) })
recipeConformance({
  ...common,
  name: 'go in a sandbox',
  skip: needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(program),
})
