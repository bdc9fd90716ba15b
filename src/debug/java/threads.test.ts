/** What HotSpot prints, as stacks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { javaThreads } from './threads.ts'

const printed = `2026-01-01 00:00:00
Full thread dump OpenJDK 64-Bit Server VM (17.0.15+6 mixed mode, sharing):

Threads class SMR info:
_java_thread_list=0x1, length=3

"main" #1 prio=5 os_prio=0 cpu=900.11ms elapsed=1.02s tid=0x7f nid=0x2 runnable  [0x7f]
   java.lang.Thread.State: RUNNABLE
	at com.acme.Web.spin(Web.java:4)
	- locked <0x1> (a java.lang.Object)
	at com.acme.Web.main(Web.java:9)

"a "quoted" one" #12 daemon prio=5 os_prio=0 cpu=0.11ms tid=0x7f nid=0x3 waiting on condition  [0x7f]
   java.lang.Thread.State: TIMED_WAITING (sleeping)
	at java.lang.Thread.sleep(java.base@17.0.15/Native Method)

"reader" #13 prio=5 os_prio=0 cpu=0.11ms tid=0x7f nid=0x4 runnable  [0x7f]
   java.lang.Thread.State: RUNNABLE
	at sun.nio.ch.Net.poll(java.base@17.0.15/Native Method)
	at sun.nio.ch.NioSocketImpl.park(java.base@17.0.15/NioSocketImpl.java:186)

"GC Thread#0" os_prio=0 cpu=1.11ms elapsed=1.02s tid=0x7f nid=0x5 runnable
`

test('threads are read with their states, and those of the machine itself are left out', () => {
  const threads = javaThreads(printed)
  assert.deepEqual(
    threads.map(({ name, state, frames }) => [name, state, frames.length]),
    [
      ['main', 'running', 2],
      ['a "quoted" one', 'waiting', 1],
      ['reader', 'waiting', 2],
    ],
  )
  assert.deepEqual(threads[0]?.frames[0], { name: 'com.acme.Web.spin', file: 'Web.java', line: 4 })
  assert.deepEqual(threads[2]?.frames[1], {
    name: 'sun.nio.ch.NioSocketImpl.park',
    file: 'NioSocketImpl.java',
    line: 186,
  })
})

test('what is no dump is none', () => {
  assert.deepEqual(javaThreads('No such process\n"x"\n'), [])
})
