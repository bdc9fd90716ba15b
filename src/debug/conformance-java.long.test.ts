/** The recipe for Java against a program made here: unprepared, with an agent that listens, and in a sandbox with one that waits. */
import { realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock } from '../base/index.ts'
import { javaProgram, probeLine, startPlain, startSandboxed } from '../../test/debug-programs.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { javaRecipe } from './drivers/java.ts'
import { javaAgent, listeningAgent } from './java/agent.ts'
import { findOnPath } from './drivers/tools.ts'

const compiler = findOnPath('javac')
const common = {
  recipe: (): ReturnType<typeof javaRecipe> => javaRecipe({ clock: systemClock }),
  probeFile: 'ticking.java',
  probeLine,
  holder: [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`],
  nested: 'config',
  door: 'stays' as const,
}
const skip = needsAll(compiler === null ? 'needs javac: apt-get install openjdk-17-jdk-headless' : false, needsRoot())
const tools = compiler === null ? '/usr/bin' : dirname(realpathSync(compiler))

recipeConformance({ ...common, name: 'java as it is', skip, start: startPlain(javaProgram(tools, '')) })
recipeConformance({
  ...common,
  name: 'java that listens for a debugger',
  skip,
  start: startPlain(javaProgram(tools, listeningAgent)),
})
recipeConformance({
  ...common,
  name: 'java with the agent that waits, in a sandbox',
  skip: needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(javaProgram(tools, javaAgent)),
})
