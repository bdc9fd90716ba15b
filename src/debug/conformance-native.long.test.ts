/** The recipe for machine code against a program in C made here, as a plain process and in a sandbox. */
import { systemClock, systemRandom } from '../base/index.ts'
import { nativeProgram, probeLine, startPlain, startSandboxed } from '../../test/debug-programs.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { findNativeDebugger, nativeRecipe } from './drivers/native.ts'
import { findOnPath } from './drivers/tools.ts'

const tool = await findNativeDebugger()
const compiler = findOnPath('gcc')
const common = {
  recipe: (): ReturnType<typeof nativeRecipe> =>
    nativeRecipe({ clock: systemClock, random: systemRandom, debugger: tool }),
  probeFile: 'ticking.c',
  probeLine,
  holder: [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`],
  other: [process.execPath, '-e', 'setInterval(() => {}, 1000)'],
}
const skip = needsAll(
  tool === null ? 'needs gdb 14 or lldb-dap: apt-get install lldb-19' : false,
  compiler === null ? 'needs gcc: apt-get install gcc' : false,
  needsRoot(),
)
const program = nativeProgram(compiler ?? 'gcc')

recipeConformance({ ...common, name: `C with ${tool?.kind ?? 'a debugger'}`, skip, start: startPlain(program) })
recipeConformance({
  ...common,
  name: `C with ${tool?.kind ?? 'a debugger'} in a sandbox`,
  skip: needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(program),
})
