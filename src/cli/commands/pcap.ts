/** `stead pcap`: the packets of a part, as a file that Wireshark opens. */
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { Writable } from 'node:stream'
import { type Command, helpOf, usage } from '../command.ts'
import { lookWords, untilInterrupted } from '../debugging.ts'
import { exitCodes } from '../exit-codes.ts'
import { needWritable } from '../output-file.ts'
import { needTarget } from '../target.ts'
import { note, print } from '../terminal.ts'

const usualSeconds = 10
const usualMegabytes = 100

export const pcapCommand: Command = {
  name: 'pcap',
  usage: 'PART[/INSTANCE] [APP]',
  summary: 'the packets of a part, as a file that Wireshark opens',
  help: `  --seconds    how long (${usualSeconds}); Ctrl-C ends it sooner and keeps what there is
  --megabytes  how much at most (${usualMegabytes})
  --port       only packets from or to this port
  --out        the file to write (PART.pcap); - is the standard output
  APP is a running app or its directory, when it is not the one here; also --app APP
  --json       its name as JSON
  What passes in the network of one instance: its requests, its answers, and what it asks of others, before it is encrypted
  between nodes. Nothing has to be installed, and the program is not touched. Packets hold passwords and the data of people:
  whoever may evaluate may do this, and it is in the record.
  Example: stead pcap web --out - | wireshark -k -i -`,
  options: {
    app: { type: 'string' },
    seconds: { type: 'string' },
    megabytes: { type: 'string' },
    port: { type: 'string' },
    out: { type: 'string' },
  },
  argumentsMax: 2,
  async run(input) {
    const { program: word, app: appWord } = lookWords(input, pcapCommand, () => false)
    if (word === null) throw usage('stead pcap needs a part', helpOf(pcapCommand))
    const [part = '', instance = null] = word.split('/')
    const durationMs = (input.number('seconds', 1, 3600) ?? usualSeconds) * 1000
    const bytesMax = (input.number('megabytes', 1, 1000) ?? usualMegabytes) * 1e6
    const port = input.number('port', 1, 65_535)
    const out = input.text('out') ?? `${part}.pcap`
    if (out !== '-') needWritable(out)
    const { operator, app } = await needTarget(appWord)
    const stream = await operator.open(app, part, { kind: 'capture', instance, durationMs, bytesMax, port })
    untilInterrupted().addEventListener('abort', () => stream.end(), { once: true })
    let file: Writable | null = null
    for await (const { to, bytes } of stream.pieces) {
      // Only what leads somewhere takes the place of an older file.
      file ??= out === '-' ? process.stdout : createWriteStream(out, { mode: 0o600 })
      if (to === 'err') note(`${part}: ${Buffer.from(bytes).toString().trimEnd()}`)
      else if (!file.write(bytes)) await new Promise((resolve) => file?.once('drain', resolve))
    }
    await stream.ended
    if (file === null || out === '-') return exitCodes.ok
    await finished(file.end())
    print(input.json ? JSON.stringify({ file: out }) : out)
    return exitCodes.ok
  },
}
