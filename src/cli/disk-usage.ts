/** Who uses what of the disk. Reads sizes only; a file that goes meanwhile counts as nothing. */
import { existsSync, lstatSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { allHomes, type Home } from './home.ts'

export interface AppUsage {
  readonly app: string
  /** Taken by the app's data, its copies included. */
  readonly dataBytes: number
  /** Set aside for the data; null where it shares the disk with all else. */
  readonly dataBytesMax: number | null
  readonly logBytes: number
}

export interface PlatformUsage {
  readonly place: string
  /** Records and plans. */
  readonly recordBytes: number
  readonly apps: readonly AppUsage[]
}

/** The platforms on this machine, with what each of their apps uses. */
export function platformsUsage(): PlatformUsage[] {
  return allHomes().map((home) => ({
    place: home.appDir,
    recordBytes: sizeOf(home.appDir, [join(home.agentDir, 'domains'), join(home.agentDir, 'instances')]),
    apps: appsIn(home).map((app) => appUsage(home, app)),
  }))
}

function appsIn(home: Home): string[] {
  const instances = list(join(home.agentDir, 'instances')).map((id) => id.split('.')[0] ?? id)
  return [...new Set([...list(join(home.agentDir, 'domains')), ...instances])].sort()
}

function appUsage(home: Home, app: string): AppUsage {
  const root = join(home.agentDir, 'domains', app)
  const logs = list(join(home.agentDir, 'instances')).filter((id) => id.startsWith(`${app}.`))
  const logBytes = logs.reduce((sum, id) => sum + sizeOf(join(home.agentDir, 'instances', id)), 0)
  return { app, logBytes, ...dataUsage(root) }
}

/** A disk image is set aside whole, and has its own idea of what is taken. */
function dataUsage(root: string): Pick<AppUsage, 'dataBytes' | 'dataBytesMax'> {
  const trees = join(root, 'trees')
  const image = join(root, 'image')
  if (!existsSync(image)) return { dataBytes: sizeOf(root), dataBytesMax: null }
  const dataBytesMax = lstatSync(image).size
  const mounted = existsSync(trees) && lstatSync(trees).dev !== lstatSync(root).dev
  if (!mounted) return { dataBytes: dataBytesMax, dataBytesMax }
  const { blocks, bfree, bsize } = statfsSync(trees)
  return { dataBytes: (blocks - bfree) * bsize, dataBytesMax }
}

/** Bytes on disk of everything below, each file once however many names it has. */
export function sizeOf(path: string, without: readonly string[] = []): number {
  const seen = new Set<string>()
  let bytes = 0
  const visit = (at: string): void => {
    const info = lstatSync(at, { throwIfNoEntry: false })
    if (info === undefined || without.includes(at)) return
    const name = `${info.dev}:${info.ino}`
    if (info.nlink > 1 && !info.isDirectory()) {
      if (seen.has(name)) return
      seen.add(name)
    }
    bytes += info.blocks * 512
    if (info.isDirectory()) for (const child of list(at)) visit(join(at, child))
  }
  visit(path)
  return bytes
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
