/** The recipe for Ruby against this machine's own, started with the hook, as a plain process and in a sandbox. */
import { systemClock } from '../base/index.ts'
import { probeLine, rubyProgram, startPlain, startSandboxed } from '../../test/debug-programs.ts'
import { useDebugTools } from '../../test/debug-tools.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { recipeConformance } from './conformance.ts'
import { rubyRecipe } from './drivers/ruby.ts'
import { findOnPath } from './drivers/tools.ts'

useDebugTools()

const ruby = '/usr/bin/ruby'
const common = {
  recipe: (): ReturnType<typeof rubyRecipe> => rubyRecipe({ clock: systemClock, rbspy: findOnPath('rbspy') }),
  probeFile: 'ticking.rb',
  probeLine,
  holder: [process.execPath, `${import.meta.dirname}/fixtures/holder.ts`],
  nested: '{ api_key: count }',
}
const skip = needsAll(needsRoot(), needsFile(ruby, 'apt-get install ruby'))

recipeConformance({ ...common, name: 'ruby with the hook', skip, start: startPlain(rubyProgram(ruby, true)) })
recipeConformance({
  ...common,
  name: 'ruby with the hook in a sandbox',
  skip: needsAll(skip, needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')),
  start: startSandboxed(rubyProgram(ruby, true)),
})
