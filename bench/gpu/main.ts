// The GPU bench, one call: is every kernel right, then how long do GEMM, the selective scan, a training step and decoding
// take. (The memory of train and mixed is that of the whole process: ask for one alone.) Kernels are timed by the device's clock, steps and tokens by the wall clock.
//   node dist/bench/gpu/main.js [suite] [copy] [gemm] [scan] [train] [mixed] [decode] [--stock] [--json FILE] [--verified FILE]
// Default: all parts. --stock measures everything once more with what a browser offers without experimental features (no
// float16 on NVIDIA, no matrix units, bounds checked twice), as a second column. --verified records that the sources in the working directory passed the suite on this GPU.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openReference } from '../../src/backend/reference/index.js'
import { describeFailure, runSuite } from '../../src/backend/suite.js'
import type { WebGpuBackend } from '../../src/backend/webgpu/backend.js'
import { openWebGpu } from '../../src/backend/webgpu/index.js'
import { setDefaultBackend } from '../../src/tensor/index.js'
import { measureDecode, measureTrain } from './models.js'
import { measureCopy, measureGemm, measureScan, warmUp } from './operators.js'
import { formatRows, type Row, withStock } from './rows.js'
import { sourcesHash } from './verified.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, verified: { type: 'string' }, stock: { type: 'boolean', default: false } },
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

async function measure(gpu: WebGpuBackend): Promise<Row[]> {
  const rows: Row[] = []
  for (const [name, rowsOf] of Object.entries(parts)) {
    if (!wanted(name)) continue
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
  }
  return rows
}

const gpu = await openWebGpu()
const { description } = gpu
setDefaultBackend(gpu)
console.log(description)
if (wanted('suite')) await check(gpu)
let rows = await measure(gpu)
await gpu.close()
if (values.stock) {
  const stock = await openWebGpu({ stock: true })
  setDefaultBackend(stock)
  console.log('with what a stock browser offers:')
  rows = withStock(rows, await measure(stock))
  await stock.close()
}
for (const line of ['', ...formatRows(rows)]) console.log(line)
if (values.json)
  writeFileSync(values.json, `${JSON.stringify({ device: description, node: process.version, rows }, null, 1)}\n`)
process.exit(wrong === 0 ? 0 : 1)
