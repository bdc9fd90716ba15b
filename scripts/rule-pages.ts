/** Writes docs/rules from the rules of `stead check`. A test compares; run it after a change of a rule. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pageName, rulePage, rules, rulesIndex } from '../src/check/index.ts'

const directory = join(import.meta.dirname, '..', 'docs', 'rules')
mkdirSync(directory, { recursive: true })
for (const name of readdirSync(directory)) rmSync(join(directory, name))
for (const rule of rules) writeFileSync(join(directory, pageName(rule)), rulePage(rule))
writeFileSync(join(directory, 'README.md'), rulesIndex(rules))
process.stdout.write(`${rules.length} pages in docs/rules\n`)
