/** The recipe for Java against a program made here, as a plain process and in a sandbox. */
import { realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock } from '../base/index.ts'
import { javaProgram, probeLine, startPlain, startSandboxed } from '../../test/debug-programs.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { javaRecipe } from './drivers/java.ts'
import { findOnPath } from './drivers/tools.ts'

const compiler = findOnPath('javac')
const common = {
  recipe: (): ReturnType<typeof javaRecipe> => javaRecipe({ clock: systemClock }),
  probeFile: 'ticking.java',
  probeLine,
  holder: null,
}
const skip = needsAll(compiler === null ? 'needs javac: apt-get install openjdk-17-jdk-headless' : false, needsRoot())
const program = javaProgram(compiler === null ? '/usr/bin' : dirname(realpathSync(compiler)))

recipeConformance({ ...common, name: 'java', skip, start: startPlain(program) })
recipeConformance({
  ...common,
  name: 'java in a sandbox',
  skip: needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(program),
})
