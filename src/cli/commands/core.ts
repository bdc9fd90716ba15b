/** `stead core`: the core file that the last end of a part left, and whether a machine keeps any. */
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import { allowCores, coreRefusal, forbidCores } from '../../agent/index.ts'
import { type Command, helpOf, usage } from '../command.ts'
import { lookWords } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { needWritable } from '../output-file.ts'
import { needTarget } from '../target.ts'
import { note, print } from '../terminal.ts'

export const coreCommand: Command = {
  name: 'core',
  usage: '[PART[/INSTANCE] [APP]]',
  summary: 'what a program held in memory when a signal ended it',
  help: `  --out FILE   the file to write (PART.core)
  --on         lets this machine keep core files of parts that ask for one: the kernel has one setting for all of it, which
               is changed until the next start of the machine. For root, on the machine that runs the platform
  --off        puts that setting back as it was
  APP is a running app or its directory, when it is not the one here; also --app APP
  --json       its name as JSON
  A part asks for one with limits: { core: '500MB' }. The newest is kept with the end that it belongs to (\`stead why\`), as big
  as was asked at most, until the next end, or until the instance is removed. It holds all that the program knew, passwords and
  the data of people too, and nothing of that is taken out: whoever may evaluate may fetch it, and it is in the record.
  Without PART it says whether this machine keeps any.
  Example: stead core web && stead debug --core web.core --program build/web`,
  options: {
    app: { type: 'string' },
    out: { type: 'string' },
    on: { type: 'boolean' },
    off: { type: 'boolean' },
  },
  argumentsMax: 2,
  async run(input) {
    const { program: word, app: appWord } = lookWords(input, coreCommand, () => false)
    if (input.flag('on') || input.flag('off')) {
      if (word !== null || (input.flag('on') && input.flag('off')))
        throw usage('--on and --off are of this machine, one at a time', helpOf(coreCommand))
      return switchCores(input.flag('on'))
    }
    if (word === null) return tellMachine(input.json)
    const [part = '', instance = null] = word.split('/')
    const out = input.text('out') ?? `${part}.core`
    needWritable(out)
    const { operator, app } = await needTarget(appWord)
    const stream = await operator.open(app, part, { kind: 'core', instance })
    // Opened when something comes: only what leads somewhere takes the place of an older file.
    let file: ReturnType<typeof createWriteStream> | null = null
    for await (const { bytes } of stream.pieces) {
      file ??= createWriteStream(out, { mode: 0o600 })
      if (!file.write(bytes)) await new Promise((resolve) => file?.once('drain', resolve))
    }
    await stream.ended
    if (file !== null) await finished(file.end())
    print(input.json ? JSON.stringify({ file: out }) : out)
    return exitCodes.ok
  },
}

function switchCores(on: boolean): number {
  if (on) {
    allowCores()
    note(
      'core files of parts that ask for one are kept on this machine until it is started anew; those of others are dropped',
    )
  } else
    note(forbidCores() ? "the machine's own setting is in force again" : 'this machine keeps no core files of parts')
  return exitCodes.ok
}

function tellMachine(json: boolean): number {
  const refusal = coreRefusal()
  if (json) print(JSON.stringify({ kept: refusal === null, reason: refusal?.reason ?? null }))
  else if (refusal === null) print('core files of parts that ask for one are kept on this machine')
  else {
    print(refusal.reason)
    note(refusal.hint)
  }
  return exitCodes.ok
}
