// Every kernel of WebGPU against the float64 reference. It takes minutes on a software adapter, so it is a file of its own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceError } from '../../errors.js'
import { openReference } from '../reference/index.js'
import { describeFailure, runSuite } from '../suite.js'
import { openWebGpu } from './index.js'

const gpu = await openWebGpu().catch((error: DeviceError) => error)
const skip = gpu instanceof Error ? gpu.message : false

test('every kernel agrees with the float64 reference', { skip }, async () => {
  if (gpu instanceof Error) return
  try {
    const { failures, passed } = await runSuite(gpu, openReference())
    assert.deepEqual(failures.map(describeFailure), [])
    assert.ok(passed > 0)
  } finally {
    await gpu.close()
  }
})
