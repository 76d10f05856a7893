// Copy, GEMM and the selective scan on a GPU, timed by the device's clock: medians over repetitions after a warm-up.
import type { WebGpuBackend } from '../../src/backend/webgpu/backend.js'
import type { KernelTime } from '../../src/backend/webgpu/profiler.js'
import {
  cast,
  exp,
  grad,
  matmul,
  mul,
  neg,
  noGrad,
  normal,
  ones,
  scope,
  selectiveScan,
  type Tensor,
  uniform,
} from '../../src/tensor/index.js'
import { median, type Row } from './rows.js'

const repetitions = 9

/** Milliseconds on the device at its full clock, and the kernels of one repetition. */
async function deviceTime(gpu: WebGpuBackend, run: () => void): Promise<{ ms: number; kernels: KernelTime[] }> {
  await gpu.profile(run)
  await warmUp()
  const times: number[] = []
  let kernels: KernelTime[] = []
  for (let i = 0; i < repetitions; i++) {
    kernels = await gpu.profile(run)
    times.push(kernels.reduce((sum, { seconds }) => sum + seconds, 0) * 1000)
  }
  return { ms: median(times), kernels }
}

/** Work for half a second: an idle GPU lowers its clocks, and takes its time to raise them. */
export async function warmUp(): Promise<void> {
  const [a, b] = [uniform([4096, 4096]), uniform([4096, 4096])]
  const start = performance.now()
  while (performance.now() - start < 500) {
    let last = matmul(a, b)
    for (let i = 0; i < 20; i++) {
      last.dispose()
      last = matmul(a, b)
    }
    await last.backend.download(last.buffer, 0, 4)
    last.dispose()
  }
  a.dispose()
  b.dispose()
}

export const describeKernels = (kernels: readonly KernelTime[], per = 1, most = 30) =>
  kernels
    .slice(0, most)
    .map(({ kernel, seconds, calls }) => `${((seconds * 1000) / per).toFixed(3)} ms ${calls / per} x ${kernel}`)

export async function* measureCopy(gpu: WebGpuBackend): AsyncGenerator<Row> {
  const count = 2 ** 28
  const x = uniform([count])
  const { ms } = await deviceTime(gpu, () => mul(x, 2).dispose())
  yield {
    what: 'copy of 1 GiB, scaled',
    milliseconds: ms,
    rate: { value: (8 * count) / ms / 1e9, unit: 'TB/s' },
    peer: ['copy', 'tb_s'],
  }
  x.dispose()
}

/** Products of the shapes of a training step. */
export async function* measureGemm(gpu: WebGpuBackend, only?: 'float32' | 'float16'): AsyncGenerator<Row> {
  const shapes = [
    [4096, 4096, 4096, false, false],
    [16384, 3072, 768, false, true],
    [16384, 768, 3072, false, false],
    [3072, 768, 16384, true, false],
    [16384, 80, 1536, false, true],
    [512, 50280, 768, false, true],
  ] as const
  for (const dtype of only ? [only] : (['float32', 'float16'] as const)) {
    for (const [M, N, K, transposeA, transposeB] of shapes) {
      const [a, b] = noGrad(() =>
        scope(() => [
          cast(uniform(transposeA ? [K, M] : [M, K], -1, 1), dtype),
          cast(uniform(transposeB ? [N, K] : [K, N], -1, 1), dtype),
        ]),
      )
      const { ms, kernels } = await deviceTime(gpu, () => matmul(a, b, { transposeA, transposeB }).dispose())
      yield {
        what: `GEMM ${M} x ${N} x ${K} ${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'} ${dtype}`,
        milliseconds: ms,
        rate: { value: (2 * M * N * K) / ms / 1e9, unit: 'TFLOP/s' },
        ...(M === 4096 && { target: dtype === 'float32' ? '0.8' : '0.4', peer: [`gemm_4096_${dtype}`, 'tflops'] }),
        detail: describeKernels(kernels),
      }
      a.dispose()
      b.dispose()
    }
  }
}

/** (B, L). */
const scans = [
  [8, 512],
  [8, 2048],
  [8, 8192],
  [1, 65536],
] as const

export async function* measureScan(gpu: WebGpuBackend): AsyncGenerator<Row> {
  const D = 2048
  const N = 16
  for (const [B, L] of scans) {
    const sequence = [B, L, D]
    const leaves = {
      u: normal(sequence),
      delta: uniform(sequence, -4, 0),
      z: normal(sequence),
      A: scope(() => neg(exp(normal([D, N])))),
      B: normal([B, L, N]),
      C: normal([B, L, N]),
      D: normal([D]),
      deltaBias: normal([D]),
    }
    const { u, delta, A, B: Bmap, C, ...options } = leaves
    const scan = () => selectiveScan(u, delta, A, Bmap, C, { ...options, deltaSoftplus: true }).out
    const name = `B ${B}, L ${L}, D ${D}, N ${N}`
    const peer = `scan_float32_B${B}_L${L}_D${D}_N${N}`
    const forward = await deviceTime(gpu, () => noGrad(() => scan().dispose()))
    yield {
      what: `scan forward, ${name}`,
      milliseconds: forward.ms,
      target: '0.5',
      peer: [peer, 'fwd_ms'],
      detail: describeKernels(forward.kernels),
    }
    const all: Tensor[] = Object.values(leaves)
    for (const leaf of all) leaf.requiresGrad = true
    const seed = ones(sequence)
    const recorded = await deviceTime(gpu, () => scan().dispose())
    const both = await deviceTime(gpu, () => {
      const grads = scope(() => grad(scan(), all, seed))
      for (const each of grads) each?.dispose()
    })
    yield {
      what: `scan backward, ${name}`,
      milliseconds: both.ms - recorded.ms,
      target: '0.6',
      peer: [peer, 'bwd_ms'],
      detail: describeKernels(both.kernels),
    }
    for (const each of [...all, seed]) each.dispose()
  }
}
