/** All recipes of this room, with the tools that this machine has. Invariant: a tool that is missing is said when it is needed. */
import type { Clock, Random } from '../../base/index.ts'
import type { Recipe } from '../recipe.ts'
import { goRecipe } from './go.ts'
import { javaRecipe } from './java.ts'
import { findNativeDebugger, nativeRecipe } from './native.ts'
import { nodeRecipe } from './node.ts'
import { pythonRecipe } from './python.ts'
import { rubyRecipe } from './ruby.ts'
import { findDebugpy, findOnPath } from './tools.ts'

export interface RecipesOptions {
  readonly clock: Clock
  readonly random: Random
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

/** Every recipe; what is compiled to machine code comes last, because interpreters are that too. */
export async function allRecipes(options: RecipesOptions): Promise<readonly Recipe[]> {
  return [nodeRecipe(options), ...(await otherRecipes(options))]
}

/** Those that need tools of this machine. */
export async function otherRecipes(options: RecipesOptions): Promise<readonly Recipe[]> {
  const [debugpy, tool] = await Promise.all([findDebugpy(), findNativeDebugger()])
  return [
    pythonRecipe({ ...options, pySpy: findOnPath('py-spy'), debugpy }),
    javaRecipe(options),
    rubyRecipe({ ...options, rbspy: findOnPath('rbspy') }),
    goRecipe({ ...options, delve: findOnPath('dlv') }),
    nativeRecipe({ ...options, debugger: tool }),
  ]
}
