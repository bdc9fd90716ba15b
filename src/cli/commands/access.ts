/** `stead access`: who besides the owner may do what on the daemon, and how they get in. */
import { readFileSync } from 'node:fs'
import { parseDuration } from '../../model/index.ts'
import {
  isRight,
  isRole,
  keyIn,
  type OperatorClient,
  type PersonSummary,
  rights,
  roles,
  tokenLifeMs,
} from '../../operator/index.ts'
import { type Command, helpOf, type Input, usage } from '../command.ts'
import { enter } from '../remote/entrance.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { needDaemon } from '../target.ts'
import { duration, note, paint, print, table } from '../terminal.ts'

export const accessCommand: Command = {
  name: 'access',
  usage: 'list | add NAME | remove NAME | token NAME',
  summary: 'who may do what on stead serve',
  help: `  add NAME      --role ${Object.keys(roles).join('|')}   what NAME may do
                --right RIGHT     and this (${rights.join(', ')}); more than once
                --app APP         only on this app; more than once. Without: on all, and on the platform
                --ssh-key FILE    NAME comes in with this public key, and needs no account on the server
                --expires 30d     until then
  token NAME    a token, shown once; --expires 30d (default 90d); --revoke takes all of NAME's away instead
  remove NAME   with tokens and keys
  --on ssh://HOST   the daemon there, instead of the one here
  --json        as JSON

  Whoever can open the platform's own socket (its user, or root) is the owner and may everything. With a token in
  STEAD_TOKEN, every command asks as the person. With an SSH key: stead status ssh://HOST.
  Example: stead access add ann --role developer --app shop --ssh-key ann.pub`,
  options: {
    role: { type: 'string' },
    right: { type: 'string', multiple: true },
    app: { type: 'string', multiple: true },
    'ssh-key': { type: 'string', multiple: true },
    expires: { type: 'string' },
    revoke: { type: 'boolean' },
    on: { type: 'string' },
    as: { type: 'string' },
  },
  argumentsMax: 2,
  run: access,
}

const lifeMsMax = 3650 * 86_400_000

async function access(input: Input): Promise<ExitCode> {
  const [verb = 'list', name = null] = input.arguments
  if (verb === 'serve' && name === null) return enter(input.text('as'))
  const verbs: Readonly<Record<string, (operator: OperatorClient, name: string) => Promise<void>>> = {
    add: (operator, person) => add(operator, person, input),
    token: (operator, person) => token(operator, person, input),
    async remove(operator, person) {
      await operator.removePerson(person)
      if (input.json) print(JSON.stringify({ removed: person }))
      else note(`${person} may do nothing here any more.`)
    },
  }
  if (verb === 'list' && name === null) {
    list(await (await needDaemon(input.text('on'))).people(), input.json)
    return exitCodes.ok
  }
  const act = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined
  if (act === undefined || name === null)
    throw usage(`stead access: list, add, remove or token, and a name`, helpOf(accessCommand))
  await act(await needDaemon(input.text('on')), name)
  return exitCodes.ok
}

async function add(operator: OperatorClient, name: string, input: Input): Promise<void> {
  const role = input.text('role') ?? ''
  if (!isRole(role))
    throw usage(
      `--role must be one of ${Object.keys(roles).join(', ')}`,
      `For example: stead access add ${name} --role viewer`,
    )
  const extra = input.texts('right').map((word) => {
    if (isRight(word)) return word
    throw usage(`there is no right ${word}`, `The rights are: ${rights.join(', ')}.`)
  })
  const apps = input.texts('app')
  const lifeMs = lifeOf(input)
  await operator.grant({
    name,
    role,
    rights: extra,
    apps: apps.length === 0 ? null : apps,
    expiresAtMs: lifeMs === null ? null : Date.now() + lifeMs,
    sshKeys: input.texts('ssh-key').map(keyFrom),
  })
  if (input.json) return print(JSON.stringify({ added: name }))
  const where = apps.length === 0 ? 'on everything' : `on ${apps.join(', ')}`
  note(
    `${name} may ${[...roles[role], ...extra].join(', ')} ${where}${lifeMs === null ? '' : ` for ${duration(lifeMs)}`}.`,
  )
  if (input.texts('ssh-key').length === 0) note(`  A way in: stead access token ${name}, or again with --ssh-key.`)
}

async function token(operator: OperatorClient, name: string, input: Input): Promise<void> {
  if (input.flag('revoke')) {
    await operator.revokeTokens(name)
    if (input.json) return print(JSON.stringify({ revoked: name }))
    return note(`All tokens of ${name} are void.`)
  }
  const expiresAtMs = Date.now() + (lifeOf(input) ?? tokenLifeMs)
  const issued = await operator.issueToken(name, expiresAtMs)
  if (input.json) return print(JSON.stringify({ ...issued, expiresAtMs }))
  note(`A token of ${name}, until ${new Date(expiresAtMs).toISOString()}. It is shown this once:`)
  print(issued.token)
}

function lifeOf(input: Input): number | null {
  const given = input.text('expires')
  if (given === null) return null
  const lifeMs = parseDuration(given)
  if (lifeMs !== null && lifeMs > 0 && lifeMs <= lifeMsMax) return lifeMs
  throw usage(`--expires must be a time from now of at most ten years, not '${given}'`, 'For example: --expires 30d')
}

function keyFrom(path: string): string {
  const key = keyIn(readFileSync(path, 'utf8'))
  if (key !== null) return key
  throw usage(`${path} is not a public SSH key`, 'Give the file that ends in .pub; it has one key on one line.')
}

function list(people: readonly PersonSummary[], json: boolean): void {
  if (json) return print(JSON.stringify(people))
  if (people.length === 0) return note('Nobody but the owner. Add somebody with `stead access add NAME --role viewer`.')
  const nowMs = Date.now()
  const until = (atMs: number | null): string =>
    atMs === null ? '' : atMs <= nowMs ? paint('red', 'expired') : `for ${duration(atMs - nowMs)}`
  const rows = people.map((person) => [
    person.name,
    [person.role, ...person.rights].join('+'),
    person.apps?.join(', ') ?? 'everything',
    until(person.expiresAtMs),
    `${person.sshKeys} keys, ${person.tokens.filter(({ expiresAtMs }) => expiresAtMs > nowMs).length} tokens`,
  ])
  print(table([['NAME', 'ROLE', 'ON', 'UNTIL', 'WAYS IN'].map((head) => paint('dim', head)), ...rows]))
}
