/**
 * Which files of an app's resources are in force, and how far they go. Pure.
 *
 * Invariant: a schema never goes back by itself. What has been applied stays declared, also when the code of before comes
 * back; only data that is exchanged brings the schema of its own time.
 */
import { jsonEqual } from '../base/index.ts'
import { type DesiredApp, resourcesOf, type SchemaState } from './state.ts'

/** What is in force for the resources of an app. */
export function schemaOf(app: DesiredApp): SchemaState {
  const parts = resourcesOf(app).map(({ name }) => name)
  const { bundles, phase, parts: own } = app.schema ?? { bundles: {}, phase: 'all', parts: [] }
  const inForce = parts.flatMap((part) => {
    const bundle =
      (own.includes(part) ? bundles[part] : undefined) ?? app.bundles[part] ?? app.stage?.beside?.bundles[part]
    return bundle === undefined ? [] : [[part, bundle] as const]
  })
  return { bundles: Object.fromEntries(inForce), phase: own.length === 0 ? 'all' : phase, parts }
}

/** The first halves of what a release brings, for the resources that were there before. */
export function expanded(before: SchemaState, bundles: Readonly<Record<string, string>>): SchemaState {
  const files = Object.fromEntries(
    before.parts.flatMap((part) => {
      const bundle = bundles[part] ?? before.bundles[part]
      return bundle === undefined ? [] : [[part, bundle] as const]
    }),
  )
  return { bundles: files, phase: 'expand', parts: before.parts }
}

/** All of what a release brings. */
export function completed(before: SchemaState, bundles: Readonly<Record<string, string>>): SchemaState {
  return { ...expanded(before, bundles), phase: 'all' }
}

/** An app with this schema; nothing is said where its own bundles say the same. */
export function withSchema(app: DesiredApp, schema: SchemaState): DesiredApp {
  const { schema: _, ...rest } = app
  const parts = schema.parts.filter((part) => schema.phase !== 'all' || schema.bundles[part] !== app.bundles[part])
  return parts.length === 0 || jsonEqual(schemaOf(rest), schema) ? rest : { ...rest, schema: { ...schema, parts } }
}
