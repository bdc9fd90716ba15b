/** Rules about secrets that stand where everybody who sees the design sees them. */
import type { Config, Resource, Workload } from '../inventory.ts'
import { at } from '../tree.ts'
import type { Path } from '../tree.ts'
import { compose, deployment, plan, yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass, unknown } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

const secretName =
  /(?:^|[_.-])(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|auth[_-]?key)(?:$|[_.-])/i
/** Names that only sound like it: a file that holds it, a switch, a name of a secret. */
const notSecret =
  /(?:_FILE|_PATH|_NAME|_DIR|_URL|_ENABLED|_TTL|_EXPIRY|_HEADER|_LENGTH|_ID|_REF|_ALGORITHM|[_.-]type)$|^(?:ALLOW_EMPTY|RANDOM)|RANDOM_ROOT|EMPTY_PASSWORD/i

const secretValue: readonly (readonly [string, RegExp])[] = [
  ['a private key', /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/],
  ['an access key of AWS', /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/],
  ['a token of GitHub', /\bgh[pousr]_[A-Za-z0-9]{36,}\b/],
  ['a token of Slack', /\bxox[baprs]-[A-Za-z0-9-]{10,}\b/],
  ['a key of Google', /\bAIza[0-9A-Za-z_-]{35}\b/],
  ['a password in an address', /\b[a-z][a-z0-9+]*:\/\/[^\s:@/${}]+:[^\s:@/${}]+@/i],
]

/** Text that stands for a value, or is put in later. */
function isPlaceholder(value: string): boolean {
  return (
    value === '' ||
    /^\$[({A-Za-z]|^\$\{|^<.*>$|^\{\{|^(?:true|false|yes|no|null|none|\d{1,2})$|^\*+$/i.test(value) ||
    value.startsWith('/run/secrets/')
  )
}

/** What makes a value look like a secret, or null. */
export function secretIn(name: string, value: string): string | null {
  const shape = secretValue.find(([, pattern]) => pattern.test(value))
  if (shape !== undefined) return shape[0]
  if (!secretName.test(name) || notSecret.test(name) || isPlaceholder(value)) return null
  return value.includes('$(') || value.includes('${') ? null : 'what its name says'
}

function inWorkload(workload: Workload): Verdict {
  const found: { readonly name: string; readonly path: Path }[] = []
  for (const container of workload.pod.containers)
    for (const { name, value, path } of container.environment)
      if (value !== null && secretIn(name, value) !== null) found.push({ name, path })
  const first = found[0]
  const envFile = [...workload.podPath, 'env_file']
  if (first === undefined && workload.platform === 'compose' && at(workload.tree, ...envFile) !== undefined)
    return unknown(workload, 'what its env_file holds is not part of the input', ...envFile)
  if (first === undefined) return pass(workload)
  const names = [...new Set(found.map(({ name }) => name))]
  const where = {
    kubernetes: 'a Secret and valueFrom',
    compose: '`secrets:` and the _FILE form of the variable',
    stead: "secret('name')",
  }
  const instead =
    workload.platform in where ? where[workload.platform as keyof typeof where] : 'a file that only it may read'
  return fail(workload, `${listed(names)} ${names.length === 1 ? 'stands' : 'stand'} in plain text`, first.path, {
    left: `Put it into ${instead}, and make a new one: this one is known to everybody who can read the file and its history.`,
  })
}

function inConfig(config: Config): Verdict {
  if (config.secret) {
    // Kubernetes' own secrets are encoded, not encrypted; in a file they are plain. Empty ones are filled by somebody later.
    const filled = config.values.find(({ key, value }) => secretIn(key, value) !== null)
    if (filled === undefined) return pass(config)
    return fail(config, `the value of ${filled.key} stands in the file, and base64 hides nothing`, filled.path, {
      left: 'Keep the file out of the repository, or encrypt it (SOPS, sealed secrets), and make a new secret.',
    })
  }
  const found = config.values.find(({ key, value }) => secretIn(key, value) !== null)
  if (found === undefined) return pass(config)
  return fail(config, `${found.key} is a secret in a ConfigMap`, found.path, {
    left: 'Move it into a Secret, and make a new one: everybody who may read the namespace has read it.',
  })
}

function inResource(resource: Resource): Verdict | null {
  const paths = resource.facts.plainSecrets ?? []
  const first = paths[0]
  if (first === undefined) return null
  return fail(resource, `${String(first.at(-1))} stands in the plan in plain text`, first, {
    left: 'Let the database make it (manage_master_user_password), or read it from a secret store at apply.',
  })
}

export const secretRules: readonly Rule[] = [
  {
    id: 'security.plain-secret',
    category: 'security',
    severity: 'high',
    title: 'No secret stands in the environment in plain text',
    reason:
      'Who can read the file, its history, the output of `inspect` or a crash report has the secret; it cannot be exchanged without a release.',
    reference: 'https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html',
    cause: 'secrets',
    bad: compose('environment:\n  DB_PASSWORD: hunter2-and-more'),
    good: compose('environment:\n  DB_PASSWORD_FILE: /run/secrets/db-password'),
    check: eachWorkload(inWorkload),
  },
  {
    id: 'security.secret-in-config',
    category: 'security',
    severity: 'high',
    title: 'Configuration objects hold no secrets',
    reason:
      'ConfigMaps are read by many and logged by some; a Secret that is checked in is as public as the repository.',
    reference: 'https://kubernetes.io/docs/concepts/security/secrets-good-practices/',
    cause: 'secrets',
    bad: yaml('apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\ndata:\n  db-password: hunter2-and-more'),
    good: yaml('apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\ndata:\n  greeting: hello'),
    check: function* (inventory) {
      for (const config of inventory.configs) yield inConfig(config)
    },
  },
  {
    id: 'security.secret-in-plan',
    category: 'security',
    severity: 'high',
    title: 'Plans and templates hold no passwords',
    reason: 'A password in a plan is in the state file too, and with everybody who may read that.',
    reference: 'https://developer.hashicorp.com/terraform/language/manage-sensitive-data',
    cause: 'secrets',
    bad: plan('aws_db_instance', { engine: 'postgres', password: 'hunter2-and-more' }),
    good: plan('aws_db_instance', { engine: 'postgres', manage_master_user_password: true }),
    check: function* (inventory) {
      for (const resource of inventory.resources) {
        const verdict = inResource(resource)
        if (verdict !== null) yield verdict
        else if (resource.service === 'database') yield pass(resource)
      }
    },
  },
  {
    id: 'security.secret-by-environment',
    category: 'security',
    severity: 'low',
    title: 'Secrets come as files, not as environment variables',
    reason:
      'The environment is inherited by every child, printed by debug pages and crash reporters, and does not change when the secret does.',
    reference: 'https://kubernetes.io/docs/concepts/security/secrets-good-practices/',
    cause: 'secrets',
    bad: deployment('env:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef: { name: db, key: password }'),
    good: deployment('env:\n  - name: GREETING\n    value: hello'),
    check: eachWorkload((workload) => {
      if (workload.platform !== 'kubernetes') return null
      const found = workload.pod.containers
        .flatMap((container) => container.environment)
        .filter(({ name, value }) => value === null && secretName.test(name) && !notSecret.test(name))
      const [first] = found
      if (first === undefined) return pass(workload)
      return fail(workload, `${listed(found.map(({ name }) => name))} comes as an environment variable`, first.path, {
        left: 'Mount the Secret as a file; whether the program reads files is not said here.',
      })
    }),
  },
]
