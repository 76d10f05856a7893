import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { contiguousStrides, elementCount, viewStrides } from './shape.js'

/** The place of every element in row-major order. */
function places(shape: readonly number[], strides: readonly number[]): number[] {
  return Array.from({ length: elementCount(shape) }, (_, i) => {
    let [rest, place] = [i, 0]
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += (rest % shape[axis]) * strides[axis]
      rest = Math.floor(rest / shape[axis])
    }
    return place
  })
}

test('strides of a view under another shape meet the same places in the same order', () => {
  const axis = fc.record({ extent: fc.integer({ min: 1, max: 4 }), pad: fc.integer({ min: 0, max: 2 }) })
  let views = 0
  fc.assert(
    fc.property(fc.array(axis, { minLength: 1, maxLength: 5 }), fc.array(fc.nat(3), { maxLength: 6 }), (axes, cuts) => {
      const shape = axes.map(({ extent }) => extent)
      const strides: number[] = []
      let stride = 1
      for (let i = axes.length - 1; i >= 0; i--) {
        strides[i] = stride
        stride *= shape[i] + axes[i].pad
      }
      // Neighbouring axes joined, and one split off here and there.
      const target: number[] = [1]
      for (const [i, extent] of shape.entries()) {
        if (cuts[i] === 0) target.push(1, extent)
        else if (cuts[i] === 1) target.push(extent)
        else target[target.length - 1] *= extent
      }
      const found = viewStrides(shape, strides, target)
      if (!found) return
      views++
      assert.deepEqual(places(target, found), places(shape, strides))
    }),
    { numRuns: 500 },
  )
  assert.ok(views > 50)
})

test('a view is found wherever there is one', () => {
  const half = [2, 3, 4, 10]
  assert.deepEqual(viewStrides([2, 3, 4, 5], contiguousStrides(half), [2, 12, 5]), [120, 10, 1])
  assert.deepEqual(viewStrides([2, 12, 6], [120, 10, 1], [2, 3, 4, 2, 3]), [120, 40, 10, 3, 1])
  assert.equal(viewStrides([2, 12, 5], [120, 10, 1], [24, 5])?.join(), '10,1')
  assert.equal(viewStrides([2, 12, 5], [120, 10, 1], [2, 60]), null)
  assert.equal(viewStrides([4, 5], [0, 1], [20]), null)
  assert.deepEqual(viewStrides([1], [7], []), [])
})
