// Runs the kernel suite on one add-on, for builds that the tests' own process cannot load: under an emulator, for another
// processor, or with sanitizers. Says what it is at, and last of all gives the result as a line of JSON.
//   node dist/src/backend/native/runSuite.js [--addon FILE] [KERNEL...]
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type KernelName, signatures } from '../kernels.js'
import { openReference } from '../reference/index.js'
import { describeFailure, runSuite } from '../suite.js'
import { openNative } from './index.js'

const { values, positionals } = parseArgs({ options: { addon: { type: 'string' } }, allowPositionals: true })
const kernels = positionals.filter((name): name is KernelName => Object.hasOwn(signatures, name))
if (kernels.length < positionals.length) throw new Error(`a kernel of ${positionals.join(', ')} does not exist`)

const backend = openNative({ addon: values.addon && resolve(values.addon), threads: 2 })
const started = performance.now()
const seen = new Set<KernelName>()
const { passed, failures } = await runSuite(backend, openReference(), {
  kernels: kernels.length > 0 ? kernels : undefined,
  onCase(kernel) {
    if (seen.has(kernel)) return
    seen.add(kernel)
    console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${kernel}`)
  },
})
await backend.close()
const { instructionSet } = backend
console.log(JSON.stringify({ instructionSet, passed, failures: failures.map(describeFailure) }))
