/** `stead graph`: the parts of an app and who uses what, whether it runs or not. */
import type { Graph, Part, Use } from '../../model/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { readGraph } from '../bundling.ts'
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { findTarget } from '../target.ts'
import { note, paint, print, table } from '../terminal.ts'

export const graphCommand: Command = {
  name: 'graph',
  usage: '[APP]',
  summary: 'the parts and who uses what',
  help: `  --json        the graph as JSON
  APP is a directory (default: here), or the name of an app that \`stead serve\` runs.
  Works whether the app runs or not.
  Example: stead graph examples/shop`,
  options: {},
  argumentsMax: 1,
  async run({ arguments: [word = null], json }) {
    const target = await findTarget(word)
    const found =
      target === null ? await readGraph(await findAppFile(word ?? '.'), note) : await target.operator.graph(target.app)
    if (json) print(JSON.stringify(found))
    else printGraph(found)
    return exitCodes.ok
  },
}

function printGraph(found: Graph): void {
  print(paint('bold', found.app))
  for (const route of found.routes)
    print(`  ${paint('cyan', route.host + (route.path === '/' ? '' : route.path))} → ${route.part}`)
  const rows = found.parts.map((part) => [
    `  ${part.name}`,
    paint('dim', kindOf(part)),
    part.kind === 'resource' || part.uses.length === 0 ? '' : `→ ${part.uses.map(showUse).join(', ')}`,
  ])
  print(table(rows))
}

function showUse({ part, rights }: Use): string {
  return rights === undefined ? part : `${part} (only ${rights.join(', ')})`
}

function kindOf(part: Part): string {
  if (part.kind === 'resource') return part.type
  if (part.kind === 'job') return part.schedule === null ? 'job, once' : `job, "${part.schedule}" ${part.timeZone}`
  if (part.vm !== undefined) return `system on ${part.vm.disk}`
  return part.replicas === 1 ? 'service' : `service × ${part.replicas}`
}
