import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { binaryFunctions } from './kernels.js'
import { openNative } from './native/index.js'
import { positionsOf } from './positions.js'
import { openReference } from './reference/index.js'
import { type ConvolutionShape, convolutionCasesOf, convolutionProblem } from './suite/convolution.cases.js'
import { count, Draw, type KernelCase, kernelCase, type Layout, output } from './suite/operands.js'
import { describeFailure, runCase } from './suite.js'
import type { Backend } from './types.js'

const reference = openReference()
const devices: Backend[] = spawnSync('g++', ['--version']).status === 0 ? [openNative()] : []
after(() => Promise.all(devices.map((device) => device.close())))

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 6 })

/** A layout without overlap: the axes in any order in memory, gaps between them, an offset. */
const layoutOf = (shape: readonly number[]): fc.Arbitrary<Layout> =>
  fc
    .record({
      order: fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
      gaps: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: shape.length, maxLength: shape.length }),
      offset: fc.integer({ min: 0, max: 3 }),
    })
    .map(({ order, gaps, offset }) => {
      const strides: number[] = []
      let stride = 1
      for (const axis of order) {
        strides[axis] = stride
        stride *= shape[axis] + gaps[axis]
      }
      return { strides, offset }
    })

/** A layout to read from: some axes may also be repeated by a stride of 0. */
const readable = (shape: readonly number[]): fc.Arbitrary<Layout> =>
  fc
    .tuple(layoutOf(shape), fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }))
    .map(([layout, repeated]) => ({
      ...layout,
      strides: layout.strides!.map((stride, axis) => (repeated[axis] ? 0 : stride)),
    }))

async function agrees(test: KernelCase): Promise<void> {
  for (const device of devices)
    assert.deepEqual((await runCase(device, reference, test)).map(describeFailure), [], device.description)
}

test('positions of a view are offset + sum index * stride, in row-major order', () => {
  fc.assert(
    fc.property(
      shapes.chain((shape) => fc.tuple(fc.constant(shape), readable(shape))),
      ([shape, { strides = [], offset = 0 }]) => {
        const positions = positionsOf({ shape, strides, offset })
        const expected = Array.from({ length: count(shape) }, (_, i) => {
          let rest = i
          let position = offset
          for (let axis = shape.length - 1; axis >= 0; axis--) {
            position += (rest % shape[axis]) * strides[axis]
            rest = Math.floor(rest / shape[axis])
          }
          return position
        })
        assert.deepEqual([...positions], expected)
      },
    ),
  )
})

const skip = devices.length === 0 && 'no g++ to build a backend'

test('copy takes any strides on both sides', { skip }, () =>
  fc.assert(
    fc.asyncProperty(
      shapes.chain((shape) => fc.tuple(fc.constant(shape), readable(shape), layoutOf(shape))),
      fc.constantFrom('float32', 'float16', 'int8', 'bool'),
      ([shape, from, to], dtype) => {
        const input = new Draw(count(shape)).integers(shape, 0, 2, { ...from, dtype })
        return agrees(kernelCase('copy', `(${shape})`, { input, out: output(shape, { ...to, dtype }) }, {}))
      },
    ),
  ),
)

test('binary takes any strides', { skip }, () =>
  fc.assert(
    fc.asyncProperty(
      shapes.chain((shape) => fc.tuple(fc.constant(shape), readable(shape), readable(shape), layoutOf(shape))),
      fc.constantFrom('add', 'sub', 'mul', 'max'),
      ([shape, left, right, into], name) => {
        const draw = new Draw(count(shape))
        const operands = { a: draw.floats(shape, -2, 2, left), b: draw.floats(shape, -2, 2, right) }
        const numbers = { function: binaryFunctions.indexOf(name) }
        return agrees(kernelCase('binary', `${name} (${shape})`, { ...operands, out: output(shape, into) }, numbers))
      },
    ),
  ),
)

/** Any convolution with a result. */
const convolutions: fc.Arbitrary<ConvolutionShape> = fc
  .record({
    batch: fc.integer({ min: 1, max: 3 }),
    axes: fc.array(
      fc.record({
        extent: fc.integer({ min: 1, max: 14 }),
        kernel: fc.integer({ min: 1, max: 7 }),
        stride: fc.integer({ min: 1, max: 4 }),
        dilation: fc.integer({ min: 1, max: 3 }),
        before: fc.integer({ min: 0, max: 8 }),
        after: fc.integer({ min: 0, max: 8 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    groups: fc.integer({ min: 1, max: 20 }),
    inChannels: fc.constantFrom(1, 1, 2, 3, 13),
    outChannels: fc.constantFrom(1, 1, 2, 5, 33),
    bias: fc.boolean(),
    pad: fc.constantFrom(0, 0, 3),
    dtype: fc.constantFrom('float32' as const, 'float32' as const, 'float16' as const),
  })
  .filter(({ axes }) =>
    axes.every((a) => a.extent + a.before + a.after > (a.kernel - 1) * a.dilation && axes.length * a.extent < 32),
  )
  .map(({ axes, groups, inChannels, outChannels, ...rest }) => ({
    ...rest,
    groups,
    inChannels: inChannels * groups,
    outChannels: outChannels * groups,
    extents: axes.map((a) => a.extent),
    kernel: axes.map((a) => a.kernel),
    stride: axes.map((a) => a.stride),
    dilation: axes.map((a) => a.dilation),
    padding: axes.map((a) => [a.before, a.after] as const),
  }))

test('convolution and its gradients take any geometry', { skip }, () =>
  fc.assert(
    fc.asyncProperty(convolutions, async (shape) => {
      const problem = convolutionProblem(new Draw(shape.batch + shape.inChannels), shape)
      for (const test of convolutionCasesOf('any', problem)) await agrees(test)
    }),
    { numRuns: 60 },
  ),
)
