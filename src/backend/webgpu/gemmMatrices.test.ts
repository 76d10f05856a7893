// No software adapter has matrix units, but Dawn's null backend checks the text of kernels that use them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { activations } from '../kernels.js'
import type { Operand } from '../types.js'
import { gemm } from './gemm.wgsl.js'
import { contiguousStrides, type Launcher } from './launcher.js'
import { SparePool, WebGpuBuffer } from './pool.js'
import { type Dispatch, moduleText } from './program.js'
import { assignSlots } from './slots.js'

interface Dawn {
  create(flags: readonly string[]): GPU
}
const name = 'webgpu'
const dawn = (await import(name).catch(() => null)) as Dawn | null
const instance = dawn?.create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])
const adapter = await instance?.requestAdapter()
const features = ['shader-f16', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[]
const skip = adapter && features.every((feature) => adapter.features.has(feature)) ? false : 'no null backend of Dawn'

const pool = new SparePool()
const operand = (shape: number[], dtype: Operand['dtype']): Operand => {
  const bytes = 4 * shape.reduce((a, b) => a * b, 1)
  const buffer = new WebGpuBuffer(bytes, { id: 0, size: bytes, gpu: {} as GPUBuffer }, pool)
  return { buffer, offset: 0, dtype, shape, strides: contiguousStrides(shape) }
}

test('products on matrix units are valid WGSL in every form', { skip }, async () => {
  const device = await adapter!.requestDevice({ requiredFeatures: features })
  const dispatches: Dispatch[] = []
  const launcher: Launcher = {
    dispatch: (dispatch) => dispatches.push(dispatch),
    scratch: (dtype, shape) => operand([...shape], dtype),
    constants: () => operand([1], 'int32'),
    errors: { operand: operand([4], 'int32'), access: 'errors' },
    traits: {
      fillingInvocations: 2 ** 18,
      unrolledStates: 16,
      cheapBarriers: true,
      exchange: 'subgroup',
      matrices: true,
      bindingBytes: 2 ** 31,
      workgroupBytes: 49152,
    },
  }
  const sizes = [
    [4096, 4096, 4096],
    [72, 40, 88],
    [64, 48, 8192],
  ]
  for (const [M, N, K] of sizes)
    for (const transposeA of [0, 1])
      for (const transposeB of [0, 1])
        for (const [into, accumulate, activation] of [
          ['float32', 0, 'none'],
          ['float16', 0, 'silu'],
          ['float32', 1, 'none'],
        ] as const) {
          const operands = {
            a: operand(transposeA ? [1, K, M] : [1, M, K], 'float16'),
            b: operand(transposeB ? [1, N, K] : [1, K, N], 'float16'),
            bias: activation === 'silu' ? operand([N], 'float32') : null,
            out: operand([1, M, N], into),
          }
          const code = activations.indexOf(activation)
          gemm(launcher, operands, { transposeA, transposeB, alpha: 1, accumulate, activation: code })
        }
  const matrices = dispatches.filter((dispatch) => dispatch.matrices)
  assert.equal(matrices.length, sizes.length * 12)
  for (const dispatch of matrices) {
    const { slots, places } = assignSlots(dispatch, 2 ** 31, true)
    device.pushErrorScope('validation')
    device.createShaderModule({ code: moduleText(dispatch, places, slots, 'apart') })
    assert.equal((await device.popErrorScope())?.message, undefined, dispatch.label)
  }
  // Named to the end, because Dawn dies with the last reference to it.
  assert.ok(instance)
})
