import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openReference } from '../backend/reference/index.js'
import { setDefaultBackend, type Tensor, tensor } from '../tensor/index.js'
import { GlobalResponseNorm, RelativePositionBias2d, windowPartition, windowReverse } from './vision.js'

const backend = openReference()
setDefaultBackend(backend)
const values = (x: Tensor) => [...backend.values(x)]

test('windows come row by row, and go back to where they were', () => {
  const image = tensor(
    Float32Array.from({ length: 2 * 4 * 6 * 3 }, (_, i) => i),
    { shape: [2, 4, 6, 3] },
  )
  const windows = windowPartition(image, [2, 3])
  assert.deepEqual(windows.shape, [8, 2, 3, 3])
  // The second window starts at column 3 of row 0, the third at row 2.
  assert.equal(values(windows)[18], 3 * 3)
  assert.equal(values(windows)[36], 2 * 6 * 3)
  assert.deepEqual(values(windowReverse(windows, [4, 6])), values(image))
  assert.throws(() => windowPartition(image, [3, 3]), /divisible by 3/)
})

test('the bias of a pair of positions depends on their offset alone', () => {
  const [height, width, heads] = [2, 3, 2]
  const bias = new RelativePositionBias2d(height, width, heads).initialize()
  const rows = (2 * height - 1) * (2 * width - 1)
  bias.table.value = tensor(
    Float32Array.from({ length: rows * heads }, (_, i) => i),
    { shape: [rows, heads] },
  )
  const made = values(bias.forward())
  const at = (head: number, i: number, j: number) => made[(head * 6 + i) * 6 + j]
  assert.equal(at(0, 0, 1), at(0, 4, 5))
  assert.equal(at(1, 0, 4), at(1, 1, 5))
  assert.notEqual(at(0, 0, 1), at(0, 1, 0))
  // The middle of the table is no offset: Swin's index.
  assert.equal(at(0, 2, 2), heads * (1 * 5 + 2))
})

test('a fresh global response norm changes nothing', () => {
  const image = tensor([1, -2, 3, 4], { shape: [1, 1, 2, 2] })
  const norm = new GlobalResponseNorm(2).initialize()
  assert.deepEqual(values(norm.forward(image)), [1, -2, 3, 4])
})
