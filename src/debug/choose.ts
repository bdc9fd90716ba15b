/** Which recipe a process is for. */
import type { Ability, Finding, ProcessFacts, Recipe } from './recipe.ts'
import { refused, unknownLanguage } from './refusals.ts'

export interface Chosen {
  readonly recipe: Recipe
  readonly finding: Finding
}

/** The first recipe that knows the process. Throws `debug.unknown-language`. */
export async function chooseRecipe(recipes: readonly Recipe[], facts: ProcessFacts): Promise<Chosen> {
  for (const recipe of recipes) {
    const finding = await recipe.find(facts)
    if (finding !== null) return { recipe, finding }
  }
  throw unknownLanguage(
    facts,
    recipes.map((recipe) => recipe.language),
  )
}

/** Throws `debug.refused` with the recipe's own reason where it cannot do that. */
export function demand({ finding }: Pick<Chosen, 'finding'>, ability: Ability): void {
  if (finding.can.includes(ability)) return
  const why = finding.cannot[ability]
  throw refused(
    why?.reason ?? `the recipe for ${finding.language} has no ${ability}`,
    why?.hint ?? 'See the table in the README of `stead/debug`.',
  )
}
