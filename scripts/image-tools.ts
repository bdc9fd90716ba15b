/** Fetches the registry and the tools of others that images are tested against, into the cache; what is there stays. */
import { fetchImageTools } from '../test/image-tools.ts'

fetchImageTools()
