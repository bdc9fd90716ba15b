/** The face of `debug`: a debugger, a stack, a look at values, a profile, of any process that runs. */
export { chooseRecipe, demand } from './choose.ts'
export type { Chosen } from './choose.ts'
export { openDapServer } from './drivers/dap-server.ts'
export type { DapServer } from './drivers/dap-server.ts'
export { goRecipe } from './drivers/go.ts'
export type { GoRecipeOptions } from './drivers/go.ts'
export { javaRecipe } from './drivers/java.ts'
export type { JavaRecipeOptions } from './drivers/java.ts'
export { findNativeDebugger, nativeRecipe } from './drivers/native.ts'
export type { NativeDebugger, NativeRecipeOptions } from './drivers/native.ts'
export { nodeRecipe } from './drivers/node.ts'
export type { NodeRecipeOptions } from './drivers/node.ts'
export { pythonRecipe } from './drivers/python.ts'
export type { PythonRecipeOptions } from './drivers/python.ts'
export { rubyRecipe } from './drivers/ruby.ts'
export type { RubyRecipeOptions } from './drivers/ruby.ts'
export { DapDecoder } from './dap/codec.ts'
export { Standing } from './dap/standing.ts'
export { allRecipes } from './drivers/recipes.ts'
export type { RecipesOptions } from './drivers/recipes.ts'
export { findDebugpy, findOnPath } from './drivers/tools.ts'
export { findProcess, readProcess } from './drivers/proc.ts'
export { missingForTrace, openTrace } from './drivers/bpftrace.ts'
export type { Traced } from './drivers/bpftrace.ts'
export { endingAfter, kernelTraces, withPart } from './kernel/traces.ts'
export type { KernelTrace } from './kernel/traces.ts'
export { flameGraph } from './flame.ts'
export {
  emacsConfiguration,
  jetbrainsConfiguration,
  mergedLaunchFile,
  neovimConfiguration,
  vscodeConfiguration,
} from './launch.ts'
export type { LaunchTarget } from './launch.ts'
export { languagesOf, preparedLanguages, prepareFor } from './prepare.ts'
export type { Prepared } from './prepare.ts'
export { mapTexts } from './redact.ts'
export { abilityOf, profileMsMax, snapshotCpuMs, snapshotHitsMax } from './recipe.ts'
export type {
  Ability,
  Attachment,
  Finding,
  Frame,
  Hit,
  ProcessFacts,
  Profile,
  ProfileKind,
  ProfileRequest,
  Recipe,
  SnapshotReport,
  SnapshotRequest,
  SnapshotValue,
  StackReport,
  ThreadStack,
  WeightedStack,
} from './recipe.ts'
