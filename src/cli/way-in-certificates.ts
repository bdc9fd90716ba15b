/** Where the way in of this machine has its certificates: from a word on the command line to a driver that is followed. */
import { join, resolve } from 'node:path'
import { systemClock, systemRandom } from '../base/index.ts'
import { type CertificateChoice, type CertificateDriver, openCertificates } from '../certificates/index.ts'
import { usage } from './command.ts'
import type { Home } from './home.ts'

/** What `--tls` can be. */
export const tlsHelp = 'local, files:DIR or acme:EMAIL'

/** The choice behind a word. Throws `cli.usage`. */
export function certificateChoice(word: string, home: Pick<Home, 'certificatesDir'>): CertificateChoice {
  const [, kind, rest = ''] = /^(local|files|acme)(?::(.+))?$/.exec(word) ?? []
  if (kind === 'local' && rest === '') return { kind, dir: localAuthorityDir(home) }
  if (kind === 'files' && rest !== '') return { kind, dir: resolve(rest) }
  if (kind === 'acme' && /^[^\s@]+@[^\s@]+$/.test(rest)) {
    const directoryUrl = process.env['STEAD_ACME_URL']
    const more = directoryUrl === undefined ? {} : { directoryUrl }
    return { kind, dir: join(home.certificatesDir, 'acme'), email: rest, ...more }
  }
  throw usage(`--tls must be ${tlsHelp}, not '${word}'`, 'For example: --tls acme:you@example.com')
}

/** The directory of this machine's own authority. */
export function localAuthorityDir({ certificatesDir }: Pick<Home, 'certificatesDir'>): string {
  return join(certificatesDir, 'local')
}

/** Opens the driver behind a word; what goes wrong with a host is said once. Throws `cli.usage`, and as the driver does. */
export async function openWayInCertificates(
  word: string,
  home: Pick<Home, 'certificatesDir'>,
  say: (text: string) => void,
): Promise<CertificateDriver> {
  const driver = await openCertificates(certificateChoice(word, home), { clock: systemClock, random: systemRandom })
  const told = new Map<string, string>()
  driver.onChange(() => {
    for (const { host, problem } of driver.list()) {
      const text =
        problem === null
          ? ''
          : `${host} has ${driver.find(host) === null ? 'no' : 'an old'} certificate: ${problem.message} ${problem.hint ?? ''}`
      if (text !== '' && told.get(host) !== text) say(text.trim())
      told.set(host, text)
    }
  })
  return driver
}
