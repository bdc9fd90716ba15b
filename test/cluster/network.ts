/**
 * The network of a test cluster: a namespace for control with a bridge, and one for each node, tied to the bridge by a pair
 * of virtual interfaces. Names are the process's own; everything is taken away at the end.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** False when the machine can do this; else why not. */
export function needsNamespaces(): string | false {
  const missing = ['/usr/sbin/ip', '/usr/bin/nsenter'].find((path) => !existsSync(path))
  if (missing !== undefined) return `needs ${missing}: apt-get install iproute2 util-linux`
  const name = `st${process.pid}probe`
  const made = spawnSync('/usr/sbin/ip', ['netns', 'add', name], { encoding: 'utf8' })
  if (made.status !== 0) return `needs network namespaces: ${made.stderr.trim()}`
  const bridge = spawnSync('/usr/sbin/ip', ['-n', name, 'link', 'add', 'br0', 'type', 'bridge'], { encoding: 'utf8' })
  spawnSync('/usr/sbin/ip', ['netns', 'del', name])
  return bridge.status === 0 ? false : `needs bridges in the kernel: ${bridge.stderr.trim()}`
}

export class ClusterNetwork implements Disposable {
  readonly #prefix = `st${process.pid}`
  readonly #namespaces: string[] = []
  /** Control's address. */
  readonly hub = '10.99.0.1'

  constructor(nodes: readonly string[]) {
    try {
      const hub = this.#add('hub')
      ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge')
      ip('-n', hub, 'addr', 'add', `${this.hub}/24`, 'dev', 'br0')
      ip('-n', hub, 'link', 'set', 'br0', 'up')
      for (const node of nodes) {
        const own = this.#add(node)
        ip('-n', hub, 'link', 'add', node, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', own)
        ip('-n', hub, 'link', 'set', node, 'master', 'br0', 'up')
        ip('-n', own, 'addr', 'add', `${this.addressOf(node)}/24`, 'dev', 'eth0')
        ip('-n', own, 'link', 'set', 'eth0', 'up')
      }
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  addressOf(node: string): string {
    return `10.99.0.${10 + this.#namespaces.indexOf(`${this.#prefix}${node}`)}`
  }

  /** What to put in front of a command so that it runs in a node's network; `hub` is control's. */
  inside(node: string): readonly string[] {
    return ['/usr/bin/nsenter', `--net=/run/netns/${this.#prefix}${node}`]
  }

  /** Cuts the wire between a node and the others. */
  cut(node: string): void {
    ip('-n', `${this.#prefix}hub`, 'link', 'set', node, 'down')
  }

  mend(node: string): void {
    ip('-n', `${this.#prefix}hub`, 'link', 'set', node, 'up')
  }

  #add(node: string): string {
    const name = `${this.#prefix}${node}`
    ip('netns', 'add', name)
    this.#namespaces.push(name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
    return name
  }

  [Symbol.dispose](): void {
    for (const name of this.#namespaces.splice(0)) spawnSync('/usr/sbin/ip', ['netns', 'del', name])
  }
}

function ip(...args: readonly string[]): void {
  const result = spawnSync('/usr/sbin/ip', args, { encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`ip ${args.join(' ')}: ${result.stderr.trim()}`)
}
