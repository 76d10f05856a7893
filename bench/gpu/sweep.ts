// Tries tiles of GEMM on a GPU in one call, each on the shapes of a training step: where another than the chosen one is
// faster, the tables in src/backend/webgpu/gemm.wgsl.ts should say so.
//   node dist/bench/gpu/sweep.js
import { openWebGpu } from '../../src/backend/webgpu/index.js'
import type { TileChoice } from '../../src/backend/webgpu/launcher.js'
import { setDefaultBackend } from '../../src/tensor/index.js'
import { measureGemm, warmUp } from './operators.js'

/** Rows and columns of a workgroup; side: of its invocations, or of a subgroup's part on matrix units. */
const plain = [
  [128, 128, 16],
  [128, 64, 16],
  [64, 64, 8],
  [64, 128, 16],
  [32, 32, 8],
] as const
const onMatrices = [
  [128, 128, 64],
  [64, 128, 32],
  [128, 64, 32],
  [64, 64, 32],
] as const

const choice = ([rows, columns, side]: readonly [number, number, number]): TileChoice => ({
  rows,
  columns,
  side,
  speed: 1,
  perCore: 2,
})

for (const [dtype, kind, tiles] of [
  ['float32', 'tiles', plain],
  ['float16', 'matrixTiles', onMatrices],
] as const)
  for (const tile of tiles) {
    const gpu = await openWebGpu({ tuning: { [kind]: [choice(tile)] } })
    setDefaultBackend(gpu)
    const name = `${tile[0]} x ${tile[1]}, side ${tile[2]}`
    try {
      await warmUp()
      const found: string[] = []
      for await (const { what, milliseconds } of measureGemm(gpu, dtype))
        found.push(`${what.split(' ').slice(1, 6).join('')} ${milliseconds.toPrecision(3)}`)
      console.log(`${dtype} ${name}: ${found.join(', ')} ms`)
    } catch (error) {
      console.log(`${dtype} ${name}: ${(error as Error).message}`)
    }
    await gpu.close()
  }
process.exit(0)
