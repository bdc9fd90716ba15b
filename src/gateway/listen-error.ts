/** Why a port cannot be listened on, as a sentence with the holder where the machine tells. */
import { SteadError, systemCodeOf } from '../base/index.ts'
import { portHolder } from './port-holder.ts'

/** `gateway.port-taken` or `gateway.port-refused`; any other error as it is. */
export async function listenError(error: unknown, host: string, port: number): Promise<unknown> {
  const code = systemCodeOf(error)
  if (code === 'EADDRINUSE') {
    const holder = await portHolder(port)
    return new SteadError({
      code: 'gateway.port-taken',
      message: `Port ${port} on ${host} is taken${holder === null ? '' : ` by ${holder}`}.`,
      hint: 'Stop what listens there, or choose another port.',
      retry: 'later',
      cause: error,
    })
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL') {
    return new SteadError({
      code: 'gateway.port-refused',
      message: `The system does not let the gateway listen on port ${port} of ${host} (${code}).`,
      hint: 'Ports below 1024 need a right of their own; the address must be one of this machine.',
      cause: error,
    })
  }
  return error
}
