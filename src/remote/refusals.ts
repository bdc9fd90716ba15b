/** From what `ssh` prints when it does not get through to what a person reads. Pure. */
import { SteadError } from '../base/index.ts'

interface Cause {
  readonly sign: RegExp
  readonly code: string
  readonly what: (place: string) => string
  readonly hint: string
}

const causes: readonly Cause[] = [
  {
    sign: /REMOTE HOST IDENTIFICATION HAS CHANGED|Offending \S+ key in/,
    code: 'remote.host-key-changed',
    what: (place) => `${place} shows another host key than the one known here`,
    hint: 'It was installed anew, or somebody stands between. When you know that it is right: ssh-keygen -R HOST, then `ssh HOST` once.',
  },
  {
    sign: /Host key verification failed|No \S+ host key is known/,
    code: 'remote.host-key-unknown',
    what: (place) => `the host key of ${place} is not known here, and was not accepted`,
    hint: 'Compare it once by hand: `ssh HOST`, and accept it there.',
  },
  {
    sign: /Permission denied|Too many authentication failures|no mutual signature/i,
    code: 'remote.key-refused',
    what: (place) => `${place} accepts none of your keys`,
    hint: 'See `ssh -v HOST`; load the key with ssh-add, or put its .pub into authorized_keys there.',
  },
]

const unreachable: Omit<Cause, 'sign'> = {
  code: 'remote.unreachable',
  what: (place) => `${place} cannot be reached`,
  hint: 'Look at name, port and network: `ssh -v HOST`.',
}

/** The error for a connection that did not come about. `said`: what `ssh` printed. */
export function connectionRefusal(place: string, said: string): SteadError {
  const { code, what, hint } = causes.find(({ sign }) => sign.test(said)) ?? unreachable
  const last = said.trim().split('\n').at(-1) ?? ''
  const quoted = code === 'remote.unreachable' || code === 'remote.key-refused' ? `: ${last || 'ssh said nothing'}` : ''
  return new SteadError({
    code,
    message: `${what(place)}${quoted}`,
    hint,
    retry: code === 'remote.unreachable' ? 'later' : 'never',
  })
}

/** The error for a connection that was cut while something was done. */
export function cutOff(place: string, while_: string): SteadError {
  return new SteadError({
    code: 'remote.cut-off',
    message: `the connection to ${place} was cut off (${while_})`,
    hint: 'Run the same command again: it goes on from what has arrived, and nothing was left half done.',
    retry: 'later',
  })
}
