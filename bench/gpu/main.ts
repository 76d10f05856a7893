// The GPU bench, one call: is every kernel right, then how long do GEMM, the selective scan, a training step and decoding
// take. Kernels are timed by the device's clock, steps and tokens by the wall clock.
//   node dist/bench/gpu/main.js [suite] [copy] [gemm] [scan] [train] [mixed] [decode] [--stock] [--peers FILE] [--json FILE] [--verified FILE]
// Default: all parts. --stock measures everything once more with what a browser offers without experimental features (no
// float16 on NVIDIA, no matrix units, bounds checked twice), as a second column. --peers holds the rows against the figures
// of the official kernels on the same machine: a JSON file of names, fields and values, as in `peer` of the rows. --verified
// records that the sources in the working directory passed the suite on this GPU.
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openReference } from '../../src/backend/reference/index.js'
import { describeFailure, runSuite } from '../../src/backend/suite.js'
import type { WebGpuBackend } from '../../src/backend/webgpu/backend.js'
import { openWebGpu } from '../../src/backend/webgpu/index.js'
import { setDefaultBackend } from '../../src/tensor/index.js'
import { measureDecode, measureTrain } from './models.js'
import { measureCopy, measureGemm, measureScan, warmUp } from './operators.js'
import { formatRows, type Peers, type Row, withStock } from './rows.js'
import { sourcesHash } from './verified.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    peers: { type: 'string' },
    stock: { type: 'boolean', default: false },
    verified: { type: 'string' },
  },
})
const wanted = (part: string) => positionals.length === 0 || positionals.includes(part)
const parts: Record<string, (gpu: WebGpuBackend) => AsyncGenerator<Row>> = {
  copy: measureCopy,
  gemm: (gpu) => measureGemm(gpu),
  scan: measureScan,
  train: (gpu) => measureTrain(gpu, null),
  mixed: (gpu) => measureTrain(gpu, 'float16'),
  decode: measureDecode,
}
let wrong = 0

async function check(gpu: WebGpuBackend): Promise<void> {
  const { passed, skipped, failures } = await runSuite(gpu, openReference())
  wrong += failures.length
  console.log(`suite: ${passed} passed, ${skipped} skipped, ${failures.length} failed`)
  for (const failure of failures.slice(0, 40)) console.log(`  ${describeFailure(failure)}`)
  if (values.verified && failures.length === 0) {
    const record = { device: gpu.description, passed, sha256: sourcesHash(process.cwd()) }
    writeFileSync(values.verified, `${JSON.stringify(record, null, 2)}\n`)
  }
}

/** Every part on a device of its own, whose memory is the part's alone. */
async function measure(stock: boolean): Promise<Row[]> {
  const rows: Row[] = []
  for (const [name, rowsOf] of Object.entries(parts)) {
    if (!wanted(name) || (stock && name === 'mixed')) continue
    const gpu = await openWebGpu({ stock })
    setDefaultBackend(gpu)
    try {
      await warmUp()
      for await (const row of rowsOf(gpu)) {
        rows.push(row)
        console.log(formatRows([row]).at(-1))
        for (const line of row.detail ?? []) console.log(`    ${line}`)
      }
    } catch (error) {
      wrong++
      console.log(`${name}: ${(error as Error).message}`)
    }
    await gpu.close()
  }
  return rows
}

const peers = values.peers ? (JSON.parse(readFileSync(values.peers, 'utf8')) as Peers) : {}
const gpu = await openWebGpu()
const { description } = gpu
console.log(description)
if (wanted('suite')) await check(gpu)
await gpu.close()
let rows = await measure(false)
if (values.stock) {
  console.log('with what a stock browser offers:')
  rows = withStock(rows, await measure(true))
}
for (const line of ['', ...formatRows(rows, peers)]) console.log(line)
if (values.json)
  writeFileSync(values.json, `${JSON.stringify({ device: description, node: process.version, rows }, null, 1)}\n`)
process.exit(wrong === 0 ? 0 : 1)
