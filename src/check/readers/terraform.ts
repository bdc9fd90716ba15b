/**
 * Plans of Terraform and OpenTofu, as `show -json` prints them. What counts is what will be there after the plan was applied:
 * planned values of all modules. What is known only then is null, and rules answer "unknown" to it.
 */
import { readJson } from '../json-text.ts'
import { emptyInventory, placeOf } from '../inventory.ts'
import type { Inventory, Subject } from '../inventory.ts'
import type { SourceFile } from '../source.ts'
import { at, booleanOf, entriesOf, itemsOf, textOf } from '../tree.ts'
import type { Path, Tree } from '../tree.ts'
import { addCloudObject } from './cloud.ts'

export function isTerraformPlan(tree: Tree): boolean {
  return (
    at(tree, 'format_version') !== undefined &&
    (at(tree, 'planned_values') !== undefined || at(tree, 'resource_changes') !== undefined)
  )
}

/** Reads what will be there; with `before`, what was there when the plan was made. */
export function readTerraformPlan(source: SourceFile, tree: Tree, inventory: Inventory, before = false): void {
  const version = textOf(at(tree, 'format_version')) ?? ''
  if (!/^[01]\./.test(version)) {
    const subject = { ...planSubject(source, tree, source.path, 'plan'), path: [] }
    const message = `the plan has format version ${version}, and versions 0 and 1 are known`
    inventory.problems.push({
      code: 'check.unknown-version',
      message,
      hint: null,
      place: placeOf(subject, 'format_version'),
    })
  }
  const changes = new Map(
    itemsOf(at(tree, 'resource_changes')).map((change) => [textOf(at(change, 'address')) ?? '', change]),
  )
  const regions = providerRegions(tree)
  const root: Path = before ? ['prior_state', 'values', 'root_module'] : ['planned_values', 'root_module']
  const listed = !before && at(tree, 'planned_values') === undefined ? changedResources(tree) : resourcesOf(tree, root)
  for (const { resource, path, values } of listed) {
    const type = textOf(at(resource, 'type')) ?? ''
    if (textOf(at(resource, 'mode')) === 'data' || type === '') continue
    const address = textOf(at(resource, 'address')) ?? type
    const unknown = before ? undefined : at(changes.get(address), 'change', 'after_unknown')
    addCloudObject(
      {
        subject: { ...planSubject(source, resource, address, type), path },
        type,
        region: regionOf(at(resource, ...values), regions.get(type.split('_')[0] ?? '') ?? null),
        path: values,
        count: 1,
        nameOf: (attribute) => attribute,
        attribute: (...attribute) => {
          const found = at(resource, ...values, ...attribute)
          if (found !== undefined) return found
          return isUnknown(unknown, attribute) ? null : undefined
        },
      },
      inventory,
    )
  }
}

/** What was there when a plan was made, for what a change adds. Empty for a source that is no plan. */
export function readPriorState(source: SourceFile): Inventory {
  const inventory = emptyInventory()
  const { tree } = readJson(source)
  if (tree !== null && isTerraformPlan(tree)) readTerraformPlan(source, tree, inventory, true)
  return inventory
}

function planSubject(source: SourceFile, tree: Tree, name: string, kind: string): Subject {
  return { platform: 'terraform', kind, name, namespace: '', source, tree, path: [], documentStart: 0 }
}

/** A resource, the path to it, and the one from there to its attributes. */
interface Listed {
  readonly resource: Tree
  readonly path: Path
  readonly values: Path
}

/** All resources of a module and its children. */
function resourcesOf(tree: Tree, module: Path): readonly Listed[] {
  const own = itemsOf(at(tree, ...module, 'resources')).map((resource, index): Listed => ({
    resource,
    path: [...module, 'resources', index],
    values: ['values'],
  }))
  const children = itemsOf(at(tree, ...module, 'child_modules')).flatMap((_, index) =>
    resourcesOf(tree, [...module, 'child_modules', index]),
  )
  return [...own, ...children]
}

/** Of a plan that lists changes only: what they leave. What is deleted leaves nothing. */
function changedResources(tree: Tree): readonly Listed[] {
  return itemsOf(at(tree, 'resource_changes')).flatMap((resource, index): readonly Listed[] =>
    at(resource, 'change', 'after') === undefined
      ? []
      : [{ resource, path: ['resource_changes', index], values: ['change', 'after'] }],
  )
}

/** Whether the attribute, or something it is part of, is known only after the plan was applied. */
function isUnknown(unknown: Tree | undefined, attribute: Path): boolean {
  let found = unknown
  for (const step of attribute) {
    if (booleanOf(found) === true) return true
    found = at(found, step)
  }
  return booleanOf(found) === true
}

/** The region each provider is configured with, where it is a constant. */
function providerRegions(tree: Tree): ReadonlyMap<string, string> {
  return new Map(
    entriesOf(at(tree, 'configuration', 'provider_config')).flatMap(([, { value }]) => {
      const name = textOf(at(value, 'name'))
      const region =
        textOf(at(value, 'expressions', 'region', 'constant_value')) ??
        textOf(at(value, 'expressions', 'zone', 'constant_value'))
      return name === undefined || region === undefined ? [] : [[name, region]]
    }),
  )
}

function regionOf(values: Tree | undefined, fallback: string | null): string | null {
  const zone =
    textOf(at(values, 'availability_zone')) ??
    textOf(at(values, 'zone')) ??
    textOf(at(values, 'location')) ??
    textOf(at(values, 'region'))
  if (zone === undefined) return fallback
  return /^[a-z]+(?:-[a-z]+)+-\d[a-z]$/.test(zone) ? zone.slice(0, -1) : zone
}
