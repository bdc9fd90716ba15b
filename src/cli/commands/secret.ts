/**
 * `stead secret`: set, list, rotate and share the secrets of a running app. Invariant: a value comes from standard input or
 * a prompt, never from an argument, and is never printed but sealed for the recipients of an export.
 */
import { readFileSync } from 'node:fs'
import { text as textOf } from 'node:stream/consumers'
import { messageOf, SteadError } from '../../base/index.ts'
import type { SecretStatus } from '../../operator/index.ts'
import { decryptWith, redactBytesMin } from '../../secrets/index.ts'
import { type Command, type Input, usage } from '../command.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { readHidden } from '../hidden-input.ts'
import { needTarget, type Target } from '../target.ts'
import { duration, note, paint, print, table } from '../terminal.ts'

const actions = ['set', 'list', 'rotate', 'rm', 'export', 'import', 'rekey'] as const
type Action = (typeof actions)[number]

export const secretCommand: Command = {
  name: 'secret',
  usage: 'set|list|rotate|rm|export|import|rekey [NAME]',
  summary: 'the secrets of an app; values from standard input or a prompt',
  help: `  set NAME      a new value, from standard input or typed unseen; one line end at its end is left off
  list          names, versions, ages, and who has which version; never a value
  rotate NAME   a new generated value; a database rotates the logins of its users, db/web that of web alone.
                Old and new are both valid until every user has the new one
  rm NAME       forget a secret that the app does not use any more
  export NAME   the value for people, encrypted with age: --to age1... (once for each)
  import NAME   the value in a text of age on standard input: --identity FILE
  rekey         a new key for everything that is kept; needs new copies of the key file

  --app APP     a directory (default: here), or the name of an app that \`stead serve\` runs
  --exact       with set: also a line end at its end belongs to the value
  --json        as JSON
  Example: stead secret set smtp-password < password.txt`,
  options: {
    app: { type: 'string' },
    exact: { type: 'boolean' },
    to: { type: 'string', multiple: true },
    identity: { type: 'string' },
  },
  // More are refused here, and without being repeated: they may be values.
  argumentsMax: 100,
  async run(input) {
    const [word = '', name = '', ...more] = input.arguments
    const action = actions.find((candidate) => candidate === word)
    if (action === undefined) throw usage(`stead secret has no action of that name`, `It has: ${actions.join(', ')}.`)
    const named = action !== 'list' && action !== 'rekey'
    if (more.length > 0 || name.includes('=')) throw valueAsArgument(action)
    if (named !== (name !== '')) {
      throw usage(`stead secret ${action} takes ${named ? 'a name' : 'no name'}`, 'See `stead secret --help`.')
    }
    const target = await needTarget(input.text('app'))
    return run[action](target, name, input)
  },
}

function valueAsArgument(action: Action): SteadError {
  return usage(
    `stead secret ${action} takes a name and nothing else: a value is never an argument`,
    'Name the app with --app. Arguments are seen by others in the list of processes, and shells keep them: give a value ' +
      'on standard input, or type it when you are asked.',
  )
}

const run: Record<Action, (target: Target, name: string, input: Input) => Promise<ExitCode>> = {
  async set({ operator, app }, name, input) {
    const value = await readHidden(`Value of ${name} (not shown): `, input.flag('exact'))
    const version = await operator.secrets.set(app, name, value, 'operator')
    return done(input, { name, version }, `${name} of ${app} has version ${version} now`, tooShort(value))
  },

  async list({ operator, app }, _name, input) {
    const secrets = await operator.secrets.list(app)
    if (input.json) print(JSON.stringify({ app, secrets }))
    else show(secrets)
    return exitCodes.ok
  },

  async rotate({ operator, app }, name, input) {
    const { started, refused } = await operator.secrets.rotate(app, name)
    for (const each of refused) note(`${each.name} is not rotated: ${each.reason}`)
    return done(input, { name, started, refused }, `${name} of ${app} is being rotated: see \`stead secret list\``)
  },

  async rm({ operator, app }, name, input) {
    await operator.secrets.remove(app, name)
    return done(input, { name, removed: true }, `${name} of ${app} is forgotten`)
  },

  async export({ operator, app }, name, input) {
    const recipients = input.texts('to')
    if (recipients.length === 0) throw usage('stead secret export needs recipients', 'Name them, as in --to age1...')
    const text = await operator.secrets.export(app, name, recipients)
    print(input.json ? JSON.stringify({ name, text }) : text.trimEnd())
    return exitCodes.ok
  },

  async import({ operator, app }, name, input) {
    const file = input.text('identity')
    if (file === null) throw usage('stead secret import needs an identity', 'As in --identity key.txt.')
    // Opened here: the identity goes nowhere.
    const value = await decryptWith(await textOf(process.stdin), identityIn(file))
    const version = await operator.secrets.set(app, name, value, 'imported')
    return done(input, { name, version }, `${name} of ${app} has version ${version} now`, tooShort(value))
  },

  async rekey({ operator }, _name, input) {
    await operator.secrets.changeKey()
    return done(input, { changed: true }, 'everything is sealed with a new key; copy the key file anew')
  },
}

function identityIn(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SteadError({
      code: 'cli.no-identity',
      message: `the identity cannot be read: ${messageOf(cause)}`,
      hint: 'It is a file as `age-keygen` makes it.',
      cause,
    })
  }
}

/** What is to be said of a value that cannot be kept out of logs. */
function tooShort(value: Uint8Array): string | null {
  if (value.length >= redactBytesMin) return null
  return `A value of fewer than ${redactBytesMin} bytes is not taken out of logs: it would be found in everything.`
}

function done(input: Input, answer: object, sentence: string, warning: string | null = null): ExitCode {
  if (input.json) print(JSON.stringify(warning === null ? answer : { ...answer, warning }))
  else note(sentence)
  if (warning !== null && !input.json) note(`${paint('yellow', 'weaker', process.stderr)} ${warning}`)
  return exitCodes.ok
}

function show(secrets: readonly SecretStatus[]): void {
  if (secrets.length === 0) return print('The app has no secrets.')
  const rows = secrets.map((secret) => {
    const current = secret.versions.find(({ version }) => version === secret.current)
    const age = current === undefined ? '' : duration(Date.now() - current.createdMs)
    const users = secret.users.map(
      ({ instance, version }) => `${instance} ${version === 0 ? 'waits' : `has ${version}`}`,
    )
    return [
      secret.name,
      secret.kind,
      secret.current === 0 ? paint('red', 'no value') : `version ${secret.current}`,
      current === undefined ? `from ${secret.from}` : current.source,
      age,
      users.join(', '),
      secret.rotation ?? '',
    ]
  })
  const heads = ['NAME', 'KIND', 'STATE', 'FROM', 'AGE', 'USED BY', ''].map((head) => paint('dim', head))
  print(table([heads, ...rows]))
}
