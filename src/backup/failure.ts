/**
 * What the tool says when it fails, as one of our own sentences. The tool's words decide, because older versions of it end
 * with the same exit code whatever happened.
 */
import { SteadError } from '../base/index.ts'

/** A run of the tool that failed. */
export interface FailedRun {
  /** What was being done, as in "back up shop". */
  readonly what: string
  readonly place: string
  /** Null when it was killed. */
  readonly exitCode: number | null
  /** The end of what it printed. */
  readonly output: string
}

type Rule = (run: FailedRun) => ConstructorParameters<typeof SteadError>[0]

/** Words that only damage explains. */
const damageWords =
  /ciphertext verification failed|invalid data returned|does not match|not found in index|blob .*not found|contains errors|invalid header|corrupt|invalid character/i
/** Words that damage explains where nothing else does. */
const perhapsDamageWords = /unable to load|failed to load|there were \d+ errors|no matching id|illegal/i

const damage: Rule = ({ what, place, output }) => ({
  code: 'backup.damaged',
  message: `Could not ${what}: what lies at ${place} is damaged (${lastLine(output)}).`,
  hint: 'Try an older backup, and make a new one at another target; do not delete anything here yet.',
})

const rules: readonly (readonly [RegExp, Rule])[] = [
  [
    /wrong password or no key found/i,
    ({ place }) => ({
      code: 'backup.wrong-key',
      message: `The key does not open the backups at ${place}.`,
      hint: 'They were made with another key, or what the target keeps of it is damaged. Put the right key into the key file.',
    }),
  ],
  [
    /access ?denied|forbidden|invalidaccesskey|signature.*does ?not ?match|access key id|permission denied|read-only file system|operation not permitted/i,
    ({ what, place, output }) => ({
      code: 'backup.target-refused',
      message: `Could not ${what}: ${place} refuses it (${lastLine(output)}).`,
      hint: 'Look at the rights of the directory, or at the keys of the S3 server and what they may do.',
    }),
  ],
  [damageWords, damage],
  [
    /no space left on device|disk quota exceeded|file too large|quota ?exceeded|storage ?full|entity ?too ?large/i,
    ({ what, place }) => ({
      code: 'backup.target-full',
      message: `Could not ${what}: ${place} is full.`,
      hint: 'Give it room, or forget old backups. What is there already stays whole.',
      retry: 'later',
    }),
  ],
  [
    /already locked|unable to create lock/i,
    ({ what, place, output }) => ({
      code: 'backup.busy',
      message: `Could not ${what}: ${place} is in use by ${/\bby (PID \d+ on \S+)/.exec(output)?.[1] ?? 'somebody else'}.`,
      hint: 'Wait until that ends. What a crash on another machine has left is passed over after half an hour.',
      retry: 'later',
    }),
  ],
  [
    /connection refused|dial tcp|no such host|i\/o timeout|tls handshake|certificate|connection reset|network is unreachable|EOF$|input\/output error|stale file handle|transport endpoint|returned error, retrying/im,
    ({ what, place, output }) => ({
      code: 'backup.target-gone',
      message: `Could not ${what}: ${place} does not answer (${lastLine(output)}).`,
      hint: 'Look whether the disk is there or the server can be reached. What was there before is not changed.',
      retry: 'later',
    }),
  ],
  [
    /unable to open config file|is there a repository|bucket does not exist|nosuchbucket/i,
    ({ place }) => ({
      code: 'backup.no-repository',
      message: `There are no backups at ${place}, and it was not prepared for them.`,
      hint: 'Is the disk mounted, is the name right? A new target has to be prepared once.',
    }),
  ],
  [
    /unsupported repository version|invalid version/i,
    ({ place }) => ({
      code: 'backup.newer-version',
      message: `The backups at ${place} were made with a newer version of restic than this machine has.`,
      hint: 'Install a newer restic.',
    }),
  ],
  [perhapsDamageWords, damage],
]

/** The error for a run that failed. */
export function failureOf(run: FailedRun): SteadError {
  const rule = rules.find(([pattern]) => pattern.test(run.output))
  if (rule !== undefined) return new SteadError(rule[1](run))
  return new SteadError({
    code: 'backup.tool-failed',
    message: `Could not ${run.what} at ${run.place}: restic ${run.exitCode === null ? 'was killed' : `ended with ${run.exitCode}`} (${lastLine(run.output)}).`,
    retry: run.exitCode === null ? 'later' : 'never',
  })
}

/** The line that says most: the tool ends on questions and on where it was. */
function lastLine(output: string): string {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const line = lines.findLast((candidate) => /^Fatal|error/i.test(candidate)) ?? lines.at(-1) ?? 'it said nothing'
  return line.replace(/^Fatal: /, '').slice(0, 300)
}
