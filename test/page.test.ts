// The library in a page of headless Chromium: WebGPU on the software adapter, and WebAssembly, train and generate alike.
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { browserSkip, FileServer, openBrowser, visit } from './browser.js'
import type { PageRun } from './page/device.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const site = mkdtempSync(join(tmpdir(), 'mambakit-page-'))
after(() => rmSync(site, { recursive: true }))

before(async () => {
  if (browserSkip) return
  // As deep as the sources are, whose addresses of .wasm files are relative.
  await build({
    entryPoints: [join(root, 'dist/test/page/device.js')],
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    outdir: join(site, 'dist/test/page'),
  })
  cpSync(join(root, 'dist/wasm'), join(site, 'wasm'), { recursive: true })
  writeFileSync(
    join(site, 'index.html'),
    '<!doctype html><script type="module" src="dist/test/page/device.js"></script>',
  )
})

const runs: Partial<Record<'webgpu' | 'wasm', PageRun>> = {}
for (const device of ['wasm', 'webgpu'] as const)
  test(`${device} in a page passes a part of the kernel suite, trains and generates`, {
    skip: browserSkip,
  }, async (t) => {
    const browser = await openBrowser([
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      '--enable-unsafe-swiftshader',
    ])
    await using server = await FileServer.start(site, '/')
    try {
      const { page, faults } = await visit(browser)
      await page.goto(server.address)
      await page.waitForFunction(() => 'runOn' in globalThis)
      const run = await page.evaluate(
        (device) => (globalThis as unknown as { runOn(device: string): Promise<PageRun> }).runOn(device),
        device,
      )
      runs[device] = run
      t.diagnostic(`${run.description}: ${run.passed} cases, losses ${run.losses.map((x) => x.toFixed(3)).join(' ')}`)
      assert.deepEqual(run.failures, [])
      assert.ok(run.passed > 50, `${run.passed} cases`)
      assert.ok(run.losses[11] < 0.6 * run.losses[0], `losses ${run.losses}`)
      assert.equal(run.tokens.length, 20)
      assert.deepEqual(
        faults.filter((fault) => fault.startsWith('script')),
        [],
      )
    } finally {
      await browser.close()
    }
  })

test('both devices learn the same and generate the same', { skip: browserSkip }, () => {
  const { webgpu, wasm } = runs
  webgpu!.losses.forEach((loss, i) => {
    assert.ok(Math.abs(loss - wasm!.losses[i]) < 1e-3, `step ${i}: ${loss} on webgpu, ${wasm!.losses[i]} on wasm`)
  })
  assert.deepEqual(webgpu!.tokens, wasm!.tokens)
})
