/**
 * Programs in each language for the conformance suite, and how tests start them: as a plain process of this host, and in
 * the sandbox driver with processes, files and network of its own.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
  openSync,
  closeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { systemClock, systemRandom, randomId } from '../src/base/index.ts'
import { chooseNetworkDriver } from '../src/network/index.ts'
import { bubblewrapDriver } from '../src/sandbox/index.ts'
import type { ProgramKind, Started } from '../src/debug/bench.conformance.ts'
import { hookDirectory } from '../src/debug/door.ts'
import { pythonHook } from '../src/debug/python/hook.ts'
import { rubyHook } from '../src/debug/ruby/hook.ts'

/** Sources by kind; `probeLine` of the ticking one is 5. */
export interface Program {
  readonly extension: string
  readonly sources: Readonly<Record<ProgramKind, string>>
  readonly argv: (file: string) => readonly string[]
  /** What the sandbox must hold beside the system's directories. */
  readonly mounts: readonly string[]
  /** Makes the program that is run, where it is not the source itself. */
  readonly build?: (source: string, program: string) => void
  /** Files beside the program, by their path from its directory. */
  readonly beside?: Readonly<Record<string, string>>
  readonly env?: (dir: string) => Readonly<Record<string, string>>
}

export const probeLine = 5

export function nodeProgram(node: string): Program {
  return {
    extension: 'cjs',
    sources: {
      ticking: `let total = 0
function tick() {
  const count = ++total
  const password = 'x'.repeat(count % 7)
  console.log(count, password.length)
}
setInterval(tick, 20)
`,
      hanging: `function spin() {
  let count = 0
  console.log('hangs')
  for (;;) count++
}
setTimeout(spin, 10)
`,
    },
    // On this machine's network the usual port may be somebody else's.
    argv: (file) => [node, '--inspect-port=0', file],
    mounts: node.startsWith('/usr/') ? [] : [dirname(dirname(node))],
  }
}

export function pythonProgram(python: string): Program {
  return {
    extension: 'py',
    sources: {
      ticking: `import time
def tick(count):
    password = 'x' * (count % 7)
    time.sleep(0.02)
    print(count, len(password), flush=True)
count = 0
while True:
    count += 1
    tick(count)
`,
      hanging: `def spin():
    print('hangs', flush=True)
    count = 0
    while True:
        count += 1
spin()
`,
    },
    argv: (file) => [python, file],
    mounts: [],
  }
}

/** As a platform starts them: with the hook that lets a debugger in when it is asked. */
export function preparedPython(python: string): Program {
  return {
    ...pythonProgram(python),
    beside: { [`${hookDirectory}/sitecustomize.py`]: pythonHook },
    env: (dir) => ({ PYTHONPATH: `${dir}/${hookDirectory}` }),
  }
}

/** With the hook that lets a debugger in, or as it is. */
export function rubyProgram(ruby: string, prepared: boolean): Program {
  const hook = `${hookDirectory}/door.rb`
  return {
    extension: 'rb',
    sources: {
      ticking: `def tick(count)
  password = 'x' * (count % 7)
  sleep 0.02
  @seen = password.size
  puts "#{count} #{@seen}"
end
$stdout.sync = true
count = 0
loop { tick(count += 1) }
`,
      hanging: `$stdout.sync = true
def spin
  puts 'hangs'
  count = 0
  while true
    count += 1
  end
end
spin
`,
    },
    argv: (file) => [ruby, file],
    mounts: [],
    beside: { [hook]: rubyHook },
    ...(prepared ? { env: (dir: string) => ({ RUBYOPT: `-r${dir}/${hook}` }) } : {}),
  }
}

/** A Python that lies in the root of another system; nothing was prepared. */
export function rootedPython(root: string, python: string): Program {
  const enter = 'mount --bind /tmp "$0/tmp" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$1" "$2"'
  return {
    ...pythonProgram(python),
    argv: (file) => ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', enter, root, python, file],
  }
}

export function nativeProgram(compiler: string): Program {
  return {
    extension: 'c',
    sources: {
      ticking: `#include <stdio.h>
#include <unistd.h>
static void tick(long count) {
  const char *password = "xyz";
  printf("%ld %s\\n", count, password);
  fflush(stdout);
  usleep(20000);
}
int main(void) {
  for (long count = 1;; count++) tick(count);
}
`,
      hanging: `#include <stdio.h>
static void spin(void) {
  volatile unsigned long count = 0;
  printf("hangs\\n");
  fflush(stdout);
  for (;;) count++;
}
int main(void) {
  spin();
}
`,
    },
    build: (source, program) => execFileSync(compiler, ['-g', '-O0', '-o', program, source]),
    argv: (file) => [file],
    mounts: [],
  }
}

export function cppProgram(compiler: string): Program {
  return {
    extension: 'cc',
    sources: {
      ticking: `#include <iostream>
#include <string>
#include <unistd.h>
namespace acme { struct Clock { void tick(long count) { std::string password = "xyz"; usleep(20000);
    std::cout << count << " " << password << std::endl;
  }
}; }
int main() {
  acme::Clock clock;
  for (long count = 1;; count++) clock.tick(count);
}
`,
      hanging: `#include <iostream>
namespace acme { void spin() {
  volatile unsigned long count = 0;
  std::cout << "hangs" << std::endl;
  for (;;) count = count + 1;
} }
int main() {
  acme::spin();
}
`,
    },
    build: (source, program) => execFileSync(compiler, ['-g', '-O0', '-o', program, source]),
    argv: (file) => [file],
    mounts: [],
  }
}

export function rustProgram(compiler: string): Program {
  return {
    extension: 'rs',
    sources: {
      // A macro that prints is in many places of the code at once: the line that is probed holds a call.
      ticking: `use std::{thread::sleep, time::Duration};
#[inline(never)]
fn tick(count: i64) {
    let password = "xyz"; sleep(Duration::from_millis(20));
    report(count);
    std::hint::black_box(password);
}
#[inline(never)]
fn report(count: i64) { println!("{}", count); }
fn main() {
    for count in 1.. { tick(count); }
}
`,
      hanging: `#[inline(never)]
fn spin() {
    let mut count: u64 = 0;
    println!("hangs");
    loop { count = std::hint::black_box(count + 1); }
}
fn main() {
    spin();
}
`,
    },
    build: (source, program) => execFileSync(compiler, ['-g', '-o', program, source], { env: process.env }),
    argv: (file) => [file],
    mounts: [],
  }
}

export function goProgram(compiler: string): Program {
  return {
    extension: 'go',
    sources: {
      ticking: `package main

import ("fmt"; "time")
func tick(count int, password string) {
	fmt.Println(count, password)
	time.Sleep(20 * time.Millisecond)
}
func main() {
	for count := 1; ; count++ {
		tick(count, "xyz")
	}
}
`,
      hanging: `package main

import "fmt"
func spin() {
	count := 0
	fmt.Println("hangs")
	for {
		count++
	}
}
func main() {
	spin()
}
`,
    },
    build: (source, program) =>
      execFileSync(compiler, ['build', '-gcflags=-N -l', '-o', program, source], {
        env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
      }),
    argv: (file) => [file],
    mounts: [],
  }
}

/** `tools` is the directory of `java` and `javac`; `agent` the option that lets a debugger in, or none. */
export function javaProgram(tools: string, agent: string): Program {
  return {
    env: () => (agent === '' ? {} : { JAVA_TOOL_OPTIONS: agent }),
    extension: 'java',
    sources: {
      ticking: `class Ticking {
  static void tick(long count) throws Exception {
    String password = "xyz"; Thread.sleep(20);
    Config config = new Config(count);
    System.out.println(count + " " + password + config.name());
  }
  public static void main(String[] words) throws Exception {
    for (long count = 1; ; count++) tick(count);
  }
}
class Config {
  final long api_key;
  final String[] names = {"one", "two"};
  Config(long count) { api_key = count; }
  String name() { return names[1]; }
}
`,
      hanging: `class Hanging {
  static void spin() {
    System.out.println("hangs");
    for (long count = 0; ; count++) if (count < 0) return;
  }
  public static void main(String[] words) {
    spin();
  }
}
`,
    },
    build: (source, program) => {
      execFileSync(`${tools}/javac`, ['-g', '-d', dirname(source), source])
      const kind = program.slice(program.lastIndexOf('/') + 1)
      writeFileSync(program, `${kind.slice(0, 1).toUpperCase()}${kind.slice(1)}`)
    },
    argv: (file) => [`${tools}/java`, '-Xmx64m', '-cp', dirname(file), readFileSync(file, 'utf8')],
    mounts: tools.startsWith('/usr/') ? ['/etc/java-17-openjdk'].filter((path) => existsSync(path)) : [],
  }
}

/** Starts programs as processes of this host, like those that Stead knows nothing of. */
export function startPlain(program: Program): (kind: ProgramKind) => Promise<Started> {
  return async (kind) => {
    const { dir, file } = written(program, kind)
    const output = openSync(`${dir}/output`, 'w')
    const [command = '', ...args] = program.argv(file)
    const env = { PATH: '/usr/bin:/bin:/usr/sbin', ...program.env?.(dir) }
    const child = spawn(command, args, { stdio: ['ignore', output, 'ignore'], env, cwd: dir })
    closeSync(output)
    const gone = once(child, 'exit')
    await once(child, 'spawn')
    let ended = false
    return {
      pid: child.pid ?? 0,
      lines: async () => linesOf(readFileSync(`${dir}/output`, 'utf8')),
      async end() {
        if (ended) return
        ended = true
        child.kill('SIGKILL')
        await gone
        rmSync(dir, { recursive: true, force: true })
      },
    }
  }
}

/** Starts programs in the bubblewrap driver, in a network of their own. Needs root. */
export function startSandboxed(program: Program): (kind: ProgramKind) => Promise<Started> {
  return async (kind) => {
    const { dir, file } = written(program, kind)
    const driver = bubblewrapDriver({ clock: systemClock, groups: null })
    const network = chooseNetworkDriver({ poolSize: 0 })
    const place = await network.place('debugged')
    const recordDir = `${dir}/records`
    const removeAll = async (): Promise<void> => {
      place[Symbol.dispose]()
      await network[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true, force: true })
    }
    const starting = driver.start({
      id: `debug-${randomId(systemRandom)}`,
      argv: program.argv(file),
      env: { PATH: '/usr/bin:/bin', ...program.env?.(dir) },
      cwd: '/tmp',
      mounts: [dir, ...program.mounts].map((path) => ({ source: path, target: path, access: 'read-only' as const })),
      files: [],
      hostUid: 231_080,
      limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null },
      syscalls: 'strict',
      network: place,
      recordDir,
      outputBytesMax: 2 ** 20,
    })
    starting.catch(removeAll)
    const sandbox = await starting
    let ended = false
    return {
      pid: sandbox.pid,
      async lines() {
        const lines: string[] = []
        for await (const { text } of driver.output(recordDir)) lines.push(text)
        return lines
      },
      async end() {
        if (ended) return
        ended = true
        await sandbox.kill()
        await driver.remove(recordDir)
        await removeAll()
      },
    }
  }
}

function written(program: Program, kind: ProgramKind): { readonly dir: string; readonly file: string } {
  const dir = mkdtempSync(join(tmpdir(), 'stead-debug-'))
  chmodSync(dir, 0o755)
  mkdirSync(`${dir}/app`)
  const file = `${dir}/app/${kind}.${program.extension}`
  writeFileSync(file, program.sources[kind])
  for (const [path, text] of Object.entries(program.beside ?? {})) {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), text)
  }
  if (program.build === undefined) return { dir, file }
  const made = `${dir}/app/${kind}`
  program.build(file, made)
  return { dir, file: made }
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '')
}
