/** Writes src/model/graph.schema.json, the published format of the graph, from the schema that the code checks with. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { graphJsonSchema } from '../src/model/schema.ts'

const root = join(import.meta.dirname, '..')
const path = join(root, 'src', 'model', 'graph.schema.json')
writeFileSync(path, JSON.stringify(graphJsonSchema()))
const formatted = spawnSync(join(root, 'node_modules', '.bin', 'oxfmt'), [path], { stdio: 'inherit' })
process.exit(formatted.status ?? 1)
