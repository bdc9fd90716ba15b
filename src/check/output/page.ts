/** Rules as pages of documentation: made from the rules themselves, so that they cannot say something else. */
import { causes } from '../rules/rule.ts'
import type { Example, Rule } from '../rules/rule.ts'

/** Name of a rule's page. */
export function pageName(rule: Rule): string {
  return `${rule.id}.md`
}

export function rulePage(rule: Rule): string {
  return `# ${rule.id}

**${rule.title}.** ${rule.category}, ${rule.severity}; told under "${causes[rule.cause]}".

${rule.reason}

Fails:

${block(rule.bad)}

Passes:

${block(rule.good)}

Read more: <${rule.reference}>

To accept it in one place, name the rule, the object, a reason, an owner and a day in \`stead-check.yaml\`.
`
}

function block({ path, text }: Example): string {
  const language = /\.ya?ml$/.test(path) ? 'yaml' : path.endsWith('.json') ? 'json' : 'ini'
  // JSON has no comments to name the file in.
  const name = language === 'json' ? '' : `# ${path}\n`
  return `\`\`\`${language}\n${name}${text.trimEnd()}\n\`\`\``
}

/** The list of all rules. */
export function rulesIndex(rules: readonly Rule[]): string {
  const rows = rules.map((rule) => `| [${rule.id}](${pageName(rule)}) | ${rule.severity} | ${rule.title} |`)
  return `# Rules of \`stead check\`

${rules.length} rules. These pages are made from the rules by \`scripts/node scripts/rule-pages.ts\`.

| rule | severity | what it asks for |
| --- | --- | --- |
${rows.join('\n')}
`
}
