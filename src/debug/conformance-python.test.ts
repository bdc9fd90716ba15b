/** The recipe for Python against this machine's own, as a plain process and in a sandbox. */
import { existsSync } from 'node:fs'
import { systemClock } from '../base/index.ts'
import { probeLine, pythonProgram, startPlain, startSandboxed } from '../../test/debug-programs.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { findOnPath } from './drivers/tools.ts'
import { pythonRecipe } from './drivers/python.ts'

const python = ['/usr/bin/python3', '/usr/local/bin/python3'].find((path) => existsSync(path)) ?? '/usr/bin/python3'
const pySpy = findOnPath('py-spy')
const noTool = pySpy === null ? 'needs py-spy: pipx install py-spy' : false
const program = pythonProgram(python)
const common = {
  recipe: (): ReturnType<typeof pythonRecipe> => pythonRecipe({ clock: systemClock, pySpy }),
  probeFile: 'ticking.py',
  probeLine,
  holder: null,
}
const skip = needsAll(noTool, needsRoot(), needsFile(python, 'apt-get install python3'))

recipeConformance({ ...common, name: 'python', skip, start: startPlain(program) })
recipeConformance({
  ...common,
  name: 'python in a sandbox',
  skip: needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(program),
})
