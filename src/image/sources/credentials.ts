/** Credentials for registries from the file that `docker login`, `podman login` and `skopeo login` write. Only what stands in it is used; no helper program is run. */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf, SteadError, systemCodeOf } from '../../base/index.ts'
import type { RegistryCredential } from './registry.ts'

const shape = z.object({ auths: z.record(z.string(), z.object({ auth: z.string().optional() })).optional() })

/** Reads the file anew at every question. Throws `image.bad-credentials` when it is there and cannot be read. */
export function fileCredentials(
  path: string = join(homedir(), '.docker', 'config.json'),
): (host: string) => RegistryCredential | null {
  return (host) => {
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCodeOf(error) ?? '')) return null
      throw unreadable(path, error)
    }
    try {
      const auth = shape.parse(JSON.parse(text)).auths?.[host]?.auth
      const [username = '', ...password] = Buffer.from(auth ?? '', 'base64')
        .toString('utf8')
        .split(':')
      return username === '' ? null : { username, password: password.join(':') }
    } catch (error) {
      throw unreadable(path, error)
    }
  }
}

function unreadable(path: string, error: unknown): SteadError {
  return new SteadError({
    code: 'image.bad-credentials',
    message: `The credentials in ${path} cannot be read: ${messageOf(error).split('\n')[0]}.`,
    hint: 'Log in again, or remove the file.',
  })
}
