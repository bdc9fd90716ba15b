/** What a Java machine is started with so that a debugger can be let in. Pure: texts. */

/** It waits until it is asked for; until then nothing listens. */
export const javaAgent: string = '-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,onjcmd=y,address=127.0.0.1:0'

/** The same without the waiting: it listens for every program of the machine, from the start. */
export const listeningAgent: string = javaAgent.replace('onjcmd=y,', '')
