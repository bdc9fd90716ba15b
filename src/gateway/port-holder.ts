/** Which process holds a TCP port, as far as /proc tells whoever asks; so that "port taken" can name it. */
import { readFile, readdir, readlink } from 'node:fs/promises'

const listening = '0A'
const processesMax = 20_000

/** `name (pid)` of a process that listens on the port, or null when /proc does not tell. */
export async function portHolder(port: number): Promise<string | null> {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'latin1').catch(() => '')
    for (const line of text.split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/)
      const localPort = Number.parseInt(fields[1]?.split(':')[1] ?? '', 16)
      if (localPort === port && fields[3] === listening && fields[9] !== undefined) inodes.add(fields[9])
    }
  }
  if (inodes.size === 0) return null
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).slice(0, processesMax)
  for (const pid of pids) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const inode = /^socket:\[(\d+)\]$/.exec(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))?.[1]
      if (inode === undefined || !inodes.has(inode)) continue
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      return `${name === '' ? 'a process' : name} (${pid})`
    }
  }
  return null
}
