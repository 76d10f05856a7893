// The forms that a kernel takes on other adapters: work split over many invocations, few bindings, scans by tiles.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceError } from '../../errors.js'
import type { KernelName } from '../kernels.js'
import { openReference } from '../reference/index.js'
import { describeFailure, runSuite } from '../suite.js'
import type { Backend } from '../types.js'
import { openWebGpu } from './index.js'

const probe = await openWebGpu().catch((error: DeviceError) => error)
const skip = probe instanceof Error ? probe.message : false
if (!(probe instanceof Error)) await probe.close()

async function assertSuite(backend: Backend, kernels?: readonly KernelName[]): Promise<void> {
  const { failures, passed } = await runSuite(backend, openReference(), { kernels })
  assert.deepEqual(failures.map(describeFailure), [])
  assert.ok(passed > 0)
}

test('work split over many invocations, with eight bindings a kernel, gives the same', { skip }, async () => {
  const split = await openWebGpu({ maxBindings: 8, fillingInvocations: 2 ** 17, cheapBarriers: true })
  try {
    await assertSuite(split, [
      ...(['reduce', 'gemm', 'rmsNormGrad', 'selectiveScan', 'selectiveScanGrad'] as const),
      ...(['mambaStepIn', 'mambaStepScan'] as const),
    ])
  } finally {
    await split.close()
  }
})

test('scans by tiles, in one segment or several, give the same', { skip }, async () => {
  // On one device, so that what both forms share is compiled once.
  const tiled = await openWebGpu({ exchange: 'barriers' })
  const { traits } = Reflect.get(tiled, 'launcher') as { traits: { fillingInvocations: number } }
  try {
    for (const fillingInvocations of [64, 2 ** 14]) {
      traits.fillingInvocations = fillingInvocations
      await assertSuite(tiled, ['selectiveScan', 'selectiveScanGrad'])
    }
  } finally {
    await tiled.close()
  }
})
