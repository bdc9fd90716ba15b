/** From the texts of /proc to facts. Pure: the driver reads them, and tests hand in what other kernels wrote. */

/** A field of /proc/PID/status; empty when it has none. */
export function statusField(status: string, name: string): string {
  const found = new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)
  return found?.[1]?.trim() ?? ''
}

/** State and start time in /proc/PID/stat, whose second field may hold spaces and parentheses. Null for what is no such line. */
export function stateAndStart(stat: string): { readonly state: string; readonly start: string } | null {
  const after = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state] = after
  const start = after[19]
  return state === undefined || start === undefined ? null : { state, start }
}

/** PF_EXITING of the kernel's `include/linux/sched.h`. */
const exitingFlag = 4

/** Whether a line of /proc/PID/stat is of a process that is past its last instruction, and only gives back what it had. */
export function isExiting(stat: string): boolean {
  const [state = 'X', , , , , , flags = '0'] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === 'Z' || state === 'X' || (Number(flags) & exitingFlag) !== 0
}

/** A row of /proc/net/tcp or tcp6. */
export interface TcpRow {
  /** As the kernel writes them, in hexadecimal words: for comparing, and for `isLoopback`. */
  readonly localAddress: string
  readonly localPort: number
  readonly remoteAddress: string
  readonly remotePort: number
  readonly listening: boolean
  readonly uid: number
  readonly inode: number
}

const listenState = '0A'

export function tcpRows(text: string): readonly TcpRow[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', remote = '', state, , , , uid, , inode] = line.trim().split(/\s+/)
      if (inode === undefined) return []
      const [localAddress = '', localPort = ''] = local.split(':')
      const [remoteAddress = '', remotePort = ''] = remote.split(':')
      const row = {
        localAddress,
        localPort: Number.parseInt(localPort, 16),
        remoteAddress,
        remotePort: Number.parseInt(remotePort, 16),
        listening: state === listenState,
        uid: Number(uid),
        inode: Number(inode),
      }
      return [row]
    })
}

/** 127.0.0.1 and ::1, on machines that store the lowest byte first. */
export function isLoopback(address: string): boolean {
  return address === '0100007F' || address === '00000000000000000000000001000000'
}
