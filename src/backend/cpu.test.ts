import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { kernels } from './kernels.js'
import { nativeFault, nativeInstructionSets, openNative } from './native/index.js'
import { openReference } from './reference/index.js'
import { describeFailure, runSuite } from './suite.js'
import type { Backend } from './types.js'
import { openWasm } from './wasm/index.js'
import { hasRelaxedSimd } from './wasm/module.js'

// The kernel suite on every build of the CPU kernels that runs here.

async function agreesWithReference(backend: Backend): Promise<void> {
  try {
    const { failures, passed } = await runSuite(backend, openReference())
    assert.deepEqual(failures.map(describeFailure), [], backend.description)
    assert.ok(passed > Object.keys(kernels).length)
  } finally {
    await backend.close()
  }
}

/** Set in the process that has relaxed SIMD switched on; it runs nothing else. */
const relaxedOnly = process.env.MAMBAKIT_TEST_RELAXED === '1'

if (!relaxedOnly) {
  const compiler = spawnSync('g++', ['--version']).status === 0
  test('where g++ exists the native add-on loads', { skip: compiler ? false : 'no g++ on this machine' }, () => {
    assert.equal(nativeFault(), null)
  })

  for (const instructionSet of nativeFault() === null ? nativeInstructionSets() : []) {
    test(`native ${instructionSet} agrees with the reference`, () =>
      agreesWithReference(openNative({ instructionSet, threads: 2 })))
  }

  for (const threads of [1, 2]) {
    test(`wasm with ${threads} threads agrees with the reference`, async () =>
      agreesWithReference(await openWasm({ relaxed: false, threads })))
  }
}

if (hasRelaxedSimd()) {
  for (const threads of [1, 2]) {
    test(`wasm with relaxed SIMD and ${threads} threads agrees with the reference`, async () =>
      agreesWithReference(await openWasm({ relaxed: true, threads })))
  }
} else {
  // Older versions of Node have it behind a flag that must be given at the start.
  test('wasm with relaxed SIMD agrees with the reference', () => {
    const { NODE_TEST_CONTEXT, ...env } = process.env
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--experimental-wasm-relaxed-simd', fileURLToPath(import.meta.url)],
      { encoding: 'utf8', env: { ...env, MAMBAKIT_TEST_RELAXED: '1' } },
    )
    assert.equal(status, 0, `${stdout}${stderr}`)
    assert.match(stdout, /^# pass 2$/m)
  })
}
