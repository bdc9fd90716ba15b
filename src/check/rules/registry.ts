/** All rules, in the order of their pages. Invariant: ids are unique and never change their meaning; a test holds it. */
import { availabilityRules } from './availability.ts'
import { dependencyRules } from './dependencies.ts'
import { designRules } from './design.ts'
import { hostRules } from './host.ts'
import { imageRules } from './images.ts'
import { managedRules } from './managed.ts'
import { networkRules } from './network.ts'
import { podStandardRules } from './pod-standards.ts'
import { rightsRules } from './rights.ts'
import type { Rule } from './rule.ts'
import { secretRules } from './secrets.ts'
import { wiringRules } from './wiring.ts'

export const rules: readonly Rule[] = [
  ...podStandardRules,
  ...secretRules,
  ...imageRules,
  ...hostRules,
  ...networkRules,
  ...rightsRules,
  ...managedRules,
  ...availabilityRules,
  ...wiringRules,
  ...designRules,
  ...dependencyRules,
].sort((a, b) => (a.id < b.id ? -1 : 1))

export function ruleById(id: string): Rule | null {
  return rules.find((rule) => rule.id === id) ?? null
}

/** The rules that a word means: an id, a room as `pod-security.*`, or a root cause. Empty when it means none. */
export function chooseRules(word: string): readonly Rule[] {
  return rules.filter(
    ({ id, cause }) => id === word || cause === word || (word.endsWith('.*') && id.startsWith(word.slice(0, -1))),
  )
}
