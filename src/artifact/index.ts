/** The face of `artifact`: bundles, the store that makes and moves them, and the runtimes that run them. */
export { bundleLimits } from './bundle.ts'
export type { Bundle, BundleFile, BundleLimits, BundleManifest, Digest, Runtime } from './bundle.ts'
export { createBundleStore } from './store.ts'
export type { BundleStore, BundleStoreOptions, MakeRequest } from './store.ts'
export type { Unused } from './unused.ts'
export { appRoot, runtimeRoot } from './runtimes.ts'
export type { ResolvedRuntime, TreeLink } from './runtimes.ts'
export { runtimeEnvironment } from './environment.ts'
