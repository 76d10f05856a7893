import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MissingKernelError } from '../errors.js'
import { type KernelName, signatures } from './kernels.js'
import { openReference, type ReferenceBackend } from './reference/index.js'
import { allCases, describeFailure, runSuite } from './suite.js'
import type { Backend, Operation } from './types.js'

/** A reference whose operations pass through `change` first. */
function altered(change: (operation: Operation, backend: ReferenceBackend) => void): Backend {
  const backend = openReference()
  const { enqueue } = backend
  backend.enqueue = (operation) => {
    change(operation, backend)
    enqueue.call(backend, operation)
  }
  return backend
}

test('the reference agrees with itself on every case', async () => {
  const { failures, passed, skipped } = await runSuite(openReference(), openReference())
  assert.deepEqual(failures.map(describeFailure), [])
  assert.equal(skipped, 0)
  assert.ok(passed > 500, `only ${passed} cases ran`)
})

test('a wrong number is reported with kernel, case, operand, index, and both values', async () => {
  const wrong = altered(({ kernel, numbers }) => {
    if (kernel === 'fill') (numbers as number[])[0] += 1
  })
  const { failures } = await runSuite(wrong, openReference(), { kernels: ['fill'] })
  const [first] = failures
  assert.deepEqual(
    { ...first },
    {
      kernel: 'fill',
      name: 'float32, odd size and offset',
      operand: 'out',
      index: 0,
      got: -1.5,
      expected: -2.5,
      wrong: 13,
    },
  )
  assert.match(describeFailure(first), /^fill \/ float32, odd size and offset \/ out\[0\]: got -1.5, expected -2.5/)
})

test('a write outside an operand is reported', async () => {
  const wrong = altered(({ operands }, backend) => {
    const [out] = operands
    if (out && out.shape[0] === 13) backend.setValues({ ...out, offset: 0, shape: [1], strides: [1] }, [1])
  })
  const { failures } = await runSuite(wrong, openReference(), { kernels: ['fill'] })
  assert.ok(failures.some(({ operand }) => operand === 'out (memory around it)'))
})

test('a missing kernel is a failure unless it is listed as absent', async () => {
  const without = altered(({ kernel }) => {
    if (kernel === 'gemm') throw new MissingKernelError(kernel, 'reference')
  })
  const unlisted = await runSuite(without, openReference(), { kernels: ['gemm'] })
  assert.match(unlisted.failures[0].operand, /no 'gemm' kernel/)
  const listed = await runSuite(without, openReference(), { kernels: ['gemm'], absent: ['gemm'] })
  assert.deepEqual(listed.failures, [])
  assert.ok(listed.skipped > 0)
})

test('a kernel that is listed as absent but exists is a failure', async () => {
  const { failures } = await runSuite(openReference(), openReference(), { kernels: ['fill'], absent: ['fill'] })
  assert.deepEqual(
    failures.map(({ operand }) => operand),
    ['listed as absent, but the kernel exists'],
  )
})

test('every kernel has cases when it is asked for alone', () => {
  const hasCases = (kernel: KernelName) => {
    for (const { kernel: found } of allCases([kernel])) if (found === kernel) return true
    return false
  }
  const without = (Object.keys(signatures) as KernelName[]).filter((kernel) => !hasCases(kernel))
  assert.deepEqual(without, [])
})
