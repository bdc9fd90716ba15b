/** The face of `agent`: what runs a plan on one node. */
export { startAgent } from './agent.ts'
export type { Agent } from './agent.ts'
export type { AgentOptions, Program } from './options.ts'
export { allowCores, coreRefusal, forbidCores } from './cores.ts'
export { canReadKernelLog } from './kernel-log.ts'
export { stateProvider } from './state-provider.ts'
