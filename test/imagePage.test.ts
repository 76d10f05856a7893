// Images in a page of headless Chromium: the platform decodes what sharp decodes in Node, to the same pixels where the
// format loses nothing; batches and labels come out as in Node.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import sharp from 'sharp'
import { strongAugmentation } from '../src/data/images/augmentation.js'
import { decodeImage } from '../src/data/images/decode.node.js'
import { encodedImages, imageSet } from '../src/data/images/image-set.js'
import { openImageLoader } from '../src/data/images/image-workers.node.js'
import type { ImagePreprocessing } from '../src/data/images/preprocessing.js'
import { moduleToWrite } from '../src/hub/module-state.js'
import { writeSafetensors } from '../src/hub/safetensors.node.js'
import { sharedImageModels } from '../src/models/image-catalogue.js'
import { useDevice } from '../src/pipeline/device.js'
import { toImageConfigJson } from '../src/pipeline/image-model.js'
import { pipeline } from '../src/pipeline/pipeline.js'
import { browserSkip, FileServer, openBrowser, visit } from './browser.js'
import type { DecodedInPage } from './page/images.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const site = mkdtempSync(join(tmpdir(), 'mambakit-image-page-'))
after(() => rmSync(site, { recursive: true }))

const preprocessing: ImagePreprocessing = {
  size: 16,
  channels: 3,
  mean: [0.4, 0.5, 0.6],
  std: [0.2, 0.2, 0.3],
  cropRatio: 0.9,
  interpolation: 'bicubic',
}
const lossless = ['a.png', 'b.png', 'palette.png', 'grey.png', 'lossless.webp']
const near = ['photo.jpg', 'photo.webp', 'turned.jpg', 'half.png']
const broken = ['cut.jpg', 'bomb.png', 'text.png', 'empty.png']
const inSite = (name: string) => join(site, 'images', name)

before(async () => {
  if (browserSkip) return
  await useDevice('wasm', { announce: () => {} })
  await build({
    entryPoints: [join(root, 'dist/test/page/images.js')],
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
    '<!doctype html><script type="module" src="dist/test/page/images.js"></script>',
  )
  mkdirSync(join(site, 'images'))
  const scene = (width: number, height: number, channels: 3 | 4 = 3) => {
    const data = Uint8Array.from({ length: width * height * channels }, (_, i) =>
      channels === 4 && i % 4 === 3 ? (i % 8 === 3 ? 255 : 128) : 128 + 90 * Math.sin(i / 23 + (i % channels)),
    )
    return sharp(data, { raw: { width, height, channels } })
  }
  await scene(40, 30).png().toFile(inSite('a.png'))
  await scene(25, 37).png().toFile(inSite('b.png'))
  await scene(20, 20).png({ palette: true, colours: 16 }).toFile(inSite('palette.png'))
  await scene(20, 24).toColourspace('b-w').png().toFile(inSite('grey.png'))
  await scene(33, 21).webp({ lossless: true }).toFile(inSite('lossless.webp'))
  await scene(64, 48).jpeg({ quality: 95 }).toFile(inSite('photo.jpg'))
  await scene(64, 48).webp({ quality: 95 }).toFile(inSite('photo.webp'))
  await scene(64, 48).jpeg({ quality: 95 }).withMetadata({ orientation: 6 }).toFile(inSite('turned.jpg'))
  await scene(30, 30, 4).png().toFile(inSite('half.png'))
  const photo = readFileSync(inSite('photo.jpg'))
  writeFileSync(inSite('cut.jpg'), photo.subarray(0, 40))
  const bomb = readFileSync(inSite('a.png'))
  bomb.writeUInt32BE(50_000, 16)
  bomb.writeUInt32BE(50_000, 20)
  writeFileSync(inSite('bomb.png'), bomb)
  writeFileSync(inSite('text.png'), 'hello')
  writeFileSync(inSite('empty.png'), '')
  mkdirSync(join(site, 'model'))
  const settings = { embed_dim: 32, depth: 1 }
  const labels = ['left', 'middle', 'right']
  const model = await sharedImageModels['vit-mini'].build({ classes: 3, channels: 3, size: 16 }, settings)
  model.initialize({ seed: 5 })
  await writeSafetensors(join(site, 'model/model.safetensors'), moduleToWrite(model))
  const config = toImageConfigJson({ model: 'vit-mini', settings, labels, preprocessing })
  writeFileSync(join(site, 'model/config.json'), JSON.stringify(config))
})

test('a page decodes, batches and classifies images as Node does', { skip: browserSkip }, async (t) => {
  const browser = await openBrowser()
  await using server = await FileServer.start(site, '/')
  try {
    const { page, faults } = await visit(browser)
    await page.goto(server.address)
    await page.waitForFunction(() => 'classifyAll' in globalThis)
    const call = <T>(name: string, ...args: unknown[]): Promise<T> =>
      page.evaluate(
        ([name, args]) => (globalThis as never as Record<string, (...args: unknown[]) => T>)[name](...args),
        [name, args] as const,
      ) as Promise<T>

    const decoded = await call<DecodedInPage[]>('decodeAll', [...lossless, ...near, ...broken])
    for (const { name, width, height, data, fault } of decoded) {
      if (broken.includes(name)) {
        assert.match(fault!, new RegExp(`^DataError: ${name.replace('.', '\\.')}: expected|${name}: cannot be decoded`))
        continue
      }
      assert.equal(fault, undefined)
      const ours = await decodeImage(name, readFileSync(inSite(name)))
      assert.deepEqual([width, height], [ours.width, ours.height], name)
      const differences = data!.map((value, i) => Math.abs(value - ours.data[i]))
      const worst = Math.max(...differences)
      t.diagnostic(`${name}: pixels differ by at most ${worst}`)
      assert.ok(worst <= (lossless.includes(name) ? 0 : 8), `${name}: ${worst}`)
    }

    const names = ['a.png', 'b.png', 'palette.png', 'lossless.webp']
    const files = new Map(names.map((name) => [name, new Uint8Array(readFileSync(inSite(name)))]))
    const set = imageSet(
      'node',
      ['one', 'two'],
      encodedImages(files),
      Int32Array.from(names, (_, i) => i % 2),
    )
    const options = { batch: 4, seed: 4, augmentation: strongAugmentation, workers: 0 }
    const loader = await openImageLoader([set, set], preprocessing, options)
    const inNode = await loader.batch(0)
    const inPage = await call<number[]>('firstBatch', names, preprocessing)
    const worst = inPage.reduce((most, value, i) => Math.max(most, Math.abs(value - inNode.images[i])), 0)
    // Noise of erased parts goes through Math.log and Math.cos, which browsers may round otherwise.
    assert.ok(worst < 1e-5, `${worst}`)

    const classify = await pipeline('image-classification', join(site, 'model'))
    const told = await classify(names.map(inSite), { topK: 3 })
    const toldInPage = await call<typeof told>('classifyAll', names)
    told.forEach((scores, i) => {
      assert.deepEqual(
        toldInPage[i].map(({ label }) => label),
        scores.map(({ label }) => label),
      )
      scores.forEach(({ score }, k) => {
        assert.ok(Math.abs(score - toldInPage[i][k].score) < 1e-4)
      })
    })
    assert.deepEqual(
      faults.filter((fault) => fault.startsWith('script')),
      [],
    )
  } finally {
    await browser.close()
  }
})
