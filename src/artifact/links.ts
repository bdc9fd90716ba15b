/**
 * Whether a symbolic link stays inside its tree. Pure: the link is followed as the kernel would, through all other links
 * of the tree, because a path that looks harmless as text can leave the tree through another link.
 */

/** As many as the kernel follows. */
const hopsMax = 40
/** Names walked for one link, so that links through long links cannot be made expensive. */
const stepsMax = 1000

/** Why the link at `path` may not be in a tree with these links (path -> text), as the end of a sentence; null when it may. */
export function linkFault(path: string, links: ReadonlyMap<string, string>): string | null {
  const at: string[] = []
  const ahead = path.split('/').reverse()
  let hops = 0
  let steps = 0
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    if (++steps > stepsMax) return 'goes too long a way'
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (at.pop() === undefined) return 'leads out of the tree'
      continue
    }
    const to = links.get([...at, name].join('/'))
    if (to === undefined) {
      at.push(name)
      continue
    }
    if (to.startsWith('/')) return 'is absolute'
    if (++hops > hopsMax) return 'goes round in a circle'
    ahead.push(...to.split('/').reverse())
  }
  return null
}
