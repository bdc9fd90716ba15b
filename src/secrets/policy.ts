/** What an app file says about a secret, read from the config in its graph. Pure. */
import type { Json } from '../base/index.ts'

export interface SecretPolicy {
  /** `operator`: it has no value until a person sets one. */
  readonly from: 'generated' | 'operator'
  /** How long a generated value is kept; null: until somebody asks for another. */
  readonly rotateMs: number | null
}

/** The policy in a config. Graphs of the first release say `generate` instead of `from`. */
export function secretPolicy(config: Json): SecretPolicy {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    return { from: 'generated', rotateMs: null }
  const said = config as Readonly<Record<string, Json>>
  const rotateMs = typeof said['rotateMs'] === 'number' ? said['rotateMs'] : null
  return { from: said['from'] === 'operator' || said['generate'] === false ? 'operator' : 'generated', rotateMs }
}
