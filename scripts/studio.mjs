// `npm run studio`: sets itself up, then serves the page of the papers and opens it; options are those of
// `mambakit studio`.
import { setUp } from './setup.mjs'

// The page needs no kernels, which take minutes to compile.
const failure = setUp('ts', 'studio')
if (failure) {
  console.error(failure)
  process.exit(1)
}
process.argv.splice(2, 0, 'studio')
await import('../bin/mambakit.mjs')
