/** The face of `remote`: a server reached by the user's own SSH, what it is, and how Stead gets there. */
export { describeServer, isServerAddress, parseServerAddress, type ServerAddress } from './address.ts'
export {
  connectServer,
  Connection,
  type ConnectOptions,
  type Ended,
  type RemoteProgram,
  type RunOptions,
} from './connection.ts'
export { lookAtServer, type ServerState } from './look.ts'
export { checkVersion, planServer, type PlanOptions, type ServerPlan } from './plan.ts'
export { listPackage, type PackageList, partOfPackage, packStead, type SteadPackage } from './package.ts'
export { directoryOf, installDebian, type Installing, putInForce, sendPackage, tidy } from './install.ts'
