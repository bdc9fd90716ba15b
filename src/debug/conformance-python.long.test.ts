/**
 * The recipe for Python against this machine's own, started with the hook and without, as a plain process and in a sandbox; and
 * against Python 3.14 with nothing prepared, where there is one.
 */
import { existsSync } from 'node:fs'
import { systemClock } from '../base/index.ts'
import {
  preparedPython,
  probeLine,
  pythonProgram,
  rootedPython,
  startPlain,
  startSandboxed,
} from '../../test/debug-programs.ts'
import { newPythonRoot, useDebugTools } from '../../test/debug-tools.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { findDebugpy, findOnPath } from './drivers/tools.ts'
import { pythonRecipe } from './drivers/python.ts'

useDebugTools()

const python = ['/usr/bin/python3', '/usr/local/bin/python3'].find((path) => existsSync(path)) ?? '/usr/bin/python3'
const pySpy = findOnPath('py-spy')
const debugpy = await findDebugpy()
const noSpy = pySpy === null ? 'needs py-spy: npm run debug-tools' : false
const noDebugpy = debugpy === null ? 'needs debugpy: npm run debug-tools' : false
const common = {
  recipe: (): ReturnType<typeof pythonRecipe> => pythonRecipe({ clock: systemClock, pySpy, debugpy }),
  probeFile: 'ticking.py',
  probeLine,
  holder: [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`],
  nested: "{'api_key': count}",
}
const skip = needsAll(needsRoot(), needsFile(python, 'apt-get install python3'))
const sandboxed = needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

recipeConformance({
  ...common,
  name: 'python as it is',
  skip: needsAll(noSpy, skip),
  start: startPlain(pythonProgram(python)),
})
recipeConformance({
  ...common,
  name: 'python with the hook',
  skip: needsAll(noDebugpy, skip),
  start: startPlain(preparedPython(python)),
})
recipeConformance({
  ...common,
  name: 'python with the hook in a sandbox',
  skip: needsAll(noDebugpy, sandboxed),
  start: startSandboxed(preparedPython(python)),
})

// Debian 12 has none: the root of a Debian that has it, as debootstrap makes one.
const root = process.env['STEAD_PYTHON_ROOT'] ?? newPythonRoot
recipeConformance({
  ...common,
  name: 'python 3.14 with files of its own, and nothing prepared',
  skip: needsAll(noDebugpy, needsRoot(), needsFile(`${root}/usr/bin/python3.14`, 'npm run debug-tools')),
  start: startPlain(rootedPython(root, '/usr/bin/python3.14')),
})
