/** The recipe for machine code against programs in C, C++ and Rust made here, as plain processes and in a sandbox. */
import { systemClock, systemRandom } from '../base/index.ts'
import {
  cppProgram,
  nativeProgram,
  probeLine,
  rustProgram,
  startPlain,
  startSandboxed,
} from '../../test/debug-programs.ts'
import { useDebugTools } from '../../test/debug-tools.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { findNativeDebugger, nativeRecipe } from './drivers/native.ts'
import { findOnPath } from './drivers/tools.ts'

useDebugTools()

const tool = await findNativeDebugger()
const common = {
  recipe: (): ReturnType<typeof nativeRecipe> =>
    nativeRecipe({ clock: systemClock, random: systemRandom, debugger: tool }),
  probeLine,
  holder: [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`],
  other: [process.execPath, '-e', 'setInterval(() => {}, 1000)'],
}
const skip = needsAll(tool === null ? 'needs gdb 14 or lldb-dap: scripts/setup.mjs --debuggers' : false, needsRoot())
const sandboxed = needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')
const languages = [
  { language: 'C', compiler: findOnPath('gcc'), package: 'gcc', of: nativeProgram, probeFile: 'ticking.c' },
  { language: 'C++', compiler: findOnPath('g++'), package: 'g++', of: cppProgram, probeFile: 'ticking.cc' },
  { language: 'Rust', compiler: findOnPath('rustc'), package: 'rustc', of: rustProgram, probeFile: 'ticking.rs' },
]

for (const { language, compiler, package: name, of, probeFile } of languages) {
  const missing = needsAll(skip, compiler === null ? `needs a compiler: apt-get install ${name}` : false)
  const program = of(compiler ?? name)
  const title = `${language} with ${tool?.kind ?? 'a debugger'}`
  recipeConformance({ ...common, probeFile, name: title, skip: missing, start: startPlain(program) })
  recipeConformance({
    ...common,
    probeFile,
    name: `${title} in a sandbox`,
    skip: needsAll(missing, sandboxed),
    start: startSandboxed(program),
  })
}
