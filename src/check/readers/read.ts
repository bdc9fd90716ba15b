/**
 * From texts to one inventory: what kind of input each document is, and which reader takes it. Never throws for what a text
 * holds; what cannot be read is a problem with its place, what nobody here knows is listed as unknown.
 */
import { emptyInventory } from '../inventory.ts'
import type { Inventory } from '../inventory.ts'
import { readJson } from '../json-text.ts'
import type { Place, SourceFile } from '../source.ts'
import { isPackageFile, readPackageFile } from '../packages/lockfile.ts'
import { at, entriesOf, textOf } from '../tree.ts'
import type { Tree } from '../tree.ts'
import { readYaml } from '../yaml.ts'
import { isCloudFormation, readCloudFormation } from './cloudformation.ts'
import { isCompose, readCompose } from './compose.ts'
import { isKubernetes, readKubernetes } from './kubernetes.ts'
import { isSteadGraph, readSteadGraph } from './stead.ts'
import { isUnitFile, readUnit } from './systemd.ts'
import { isTerraformPlan, readTerraformPlan } from './terraform.ts'

export interface ReadOptions {
  /** The user named the file: then a kind that nobody knows is a problem, not something to pass by. */
  readonly named: boolean
}

/** Reads all sources into one inventory. */
export function readSources(sources: readonly SourceFile[], options: ReadOptions): Inventory {
  const inventory = emptyInventory()
  for (const source of sources) readSource(source, options, inventory)
  return inventory
}

/** Adds what a source holds. Answers whether anything in it was recognised. */
export function readSource(source: SourceFile, options: ReadOptions, inventory: Inventory): boolean {
  if (isUnitFile(source.path)) {
    readUnit(source, inventory)
    return true
  }
  if (isPackageFile(source.path)) {
    readPackageFile(source, inventory)
    return true
  }
  if (/\.(?:tf|tofu|hcl)$/.test(source.path)) {
    const hint = 'Check the plan that it makes: terraform plan -out plan && terraform show -json plan | stead check -'
    const message = 'this is the source of a plan, whose values are not known before it is made'
    if (options.named)
      inventory.problems.push({ code: 'check.unknown-input', message, hint, place: { source, offset: 0 } })
    return false
  }
  if (!options.named && !hasMarks(source)) return false
  const documents = looksLikeJson(source) ? [{ ...readJson(source), start: 0 }] : readYaml(source)
  const template = documents
    .flatMap((document) => document.problems)
    .find((problem) => problem.code === 'check.unrendered-template')
  if (template !== undefined) {
    // Its parts between the template's marks may parse, and mean something else than what it makes.
    if (options.named || isLikelyInput(source)) inventory.problems.push(template)
    return false
  }
  const found = documents.map(({ tree, problems, start }) => {
    const known = tree !== null && readDocument(source, tree, inventory, start)
    // What a file is not for us cannot be broken for us: its faults count when it was named, or belongs to an input.
    if (known || options.named || isLikelyInput(source)) inventory.problems.push(...problems)
    if (tree !== null && !known && options.named) inventory.problems.push(unrecognised({ source, offset: tree.offset }))
    return known
  })
  return found.includes(true)
}

function unrecognised(place: Place): Inventory['problems'][number] {
  return {
    code: 'check.unknown-input',
    message: 'this is none of the inputs that are known',
    hint: 'Known are Kubernetes objects, Compose files, Terraform and OpenTofu plans as JSON, CloudFormation templates, systemd units and Stead graphs.',
    place,
  }
}

/** Words that every input has one of. Looked for before anything is parsed: most files of a repository are none. */
const marks =
  /(?:^|["'{,\s])(?:apiVersion|kind|services|AWSTemplateFormatVersion|Resources|format_version|parts)["']?\s*:/m

function hasMarks(source: SourceFile): boolean {
  return marks.test(source.text)
}

function looksLikeJson(source: SourceFile): boolean {
  return source.path.endsWith('.json') || /^\s*[{[]\s*(?:["}\]]|$)/.test(source.text.slice(0, 200))
}

/** A file whose faults are worth telling: by its name, or because its text has the marks of an input. */
function isLikelyInput(source: SourceFile): boolean {
  if (/(?:^|\/)(?:docker-)?compose[^/]*\.ya?ml$/.test(source.path)) return true
  return /^(?:apiVersion|kind|services|AWSTemplateFormatVersion|Resources):/m.test(source.text)
}

function readDocument(source: SourceFile, tree: Tree, inventory: Inventory, start: number): boolean {
  if (tree.kind !== 'map') return false
  if (isKubernetes(tree)) readKubernetes(source, tree, inventory, start)
  else if (isTerraformPlan(tree)) readTerraformPlan(source, tree, inventory)
  else if (isCloudFormation(tree)) readCloudFormation(source, tree, inventory, start)
  else if (isSteadGraph(tree)) readSteadGraph(source, tree, inventory)
  else if (isCompose(tree, source.path)) readCompose(source, tree, inventory, start)
  else return namesAnApi(tree) ? reportHalf(source, tree, inventory) : false
  return true
}

/** An object with one of the two fields that every Kubernetes object has. */
function namesAnApi(tree: Tree): boolean {
  const named = textOf(at(tree, 'apiVersion')) !== undefined || textOf(at(tree, 'kind')) !== undefined
  return named && at(tree, 'metadata')?.kind === 'map'
}

function reportHalf(source: SourceFile, tree: Tree, inventory: Inventory): boolean {
  const missing = textOf(at(tree, 'kind')) === undefined ? 'kind' : 'apiVersion'
  const message = `this looks like a Kubernetes object without ${missing}`
  const place = { source, offset: entriesOf(tree)[0]?.[1].keyOffset ?? tree.offset }
  inventory.problems.push({ code: 'check.bad-object', message, hint: null, place })
  return true
}
