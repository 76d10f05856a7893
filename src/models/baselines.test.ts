import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import { TimeInvariantMixer } from '../ssm/time-invariant.js'
import { noGrad, scope, type Tensor, tensor } from '../tensor/index.js'
import { AudioUNet } from './audio-unet.js'
import { Decoder } from './decoding.js'
import type { LanguageModel } from './language-model.js'
import { mambaDefaults } from './mamba-config.js'
import { MambaLM } from './mamba-lm.js'
import { disposeCache, TransformerLM } from './transformer-lm.js'

const backend = openNative({ threads: 2 })
after(() => backend.close())

const ids = Int32Array.from({ length: 2 * 37 }, (_, i) => (i * i * 7 + 3 * i) % 11)
const batchOf = (values: Int32Array, rows: number) => tensor(values, { shape: [rows, values.length / rows], backend })

async function logitsOf(model: LanguageModel, values: Int32Array, rows: number): Promise<Float32Array> {
  const logits = noGrad(() => scope((): Tensor => model.logits(model.hidden(batchOf(values, rows)).hidden)))
  const data = (await logits.data()) as Float32Array
  logits.dispose()
  return data
}
function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-4): void {
  assert.equal(actual.length, expected.length)
  for (let i = 0; i < actual.length; i++)
    assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `${i}: ${actual[i]} and ${expected[i]}`)
}

const small = { dModel: 16, nLayer: 2, vocabSize: 11 }
const transformer = { ...small, heads: 2, hidden: 20 }

for (const positions of ['rotary', 64, 20] as const)
  test(`a Transformer with a cache gives what it gives at once (positions: ${positions})`, async () => {
    const model = new TransformerLM({ ...transformer, positions }).initialize({ seed: 1, backend })
    const whole = await logitsOf(model, ids, 2)
    const length = 37
    const cache = model.initialCache(2, length)
    const part = (from: number, to: number) =>
      Int32Array.from([...ids.subarray(from, to), ...ids.subarray(length + from, length + to)])
    let at = 0
    for (const count of [9, 1, 14, 1, 1, 11]) {
      const logits = await model.advance(part(at, at + count), cache)
      at += count
      for (const row of [0, 1]) {
        const start = (row * length + at - 1) * 11
        assertClose(logits.subarray(row * 11, (row + 1) * 11), whole.subarray(start, start + 11))
      }
    }
    await assert.rejects(model.advance(Int32Array.of(1, 2), cache), /expected at most 37 tokens in this cache, got 38/)
    disposeCache(cache)
    model.dispose()
  })

test('the time-invariant block decodes what its forward gives, and does not depend on the token', async () => {
  const model = new MambaLM({ ...mambaDefaults, ...small }, (mixer) => new TimeInvariantMixer(mixer))
  model.initialize({ seed: 2, backend })
  const row = ids.slice(0, 37)
  const whole = await logitsOf(model, row, 1)
  const decoder = new Decoder(model)
  assertClose(await decoder.prefill(row.slice(0, 20)), whole.subarray(19 * 11, 20 * 11))
  for (let t = 20; t < 37; t++)
    assertClose(await decoder.step(row.slice(t, t + 1)), whole.subarray(t * 11, (t + 1) * 11))
  decoder.dispose()
  model.dispose()
})

test('the U-Net sees nothing of what comes after a sample, at any length', async () => {
  const model = new AudioUNet({ dModel: 8, pool: [2, 3], blocks: 1, vocabSize: 11 }).initialize({ seed: 3, backend })
  const row = ids.slice(0, 37)
  const whole = await logitsOf(model, row, 1)
  for (const [cut, changed] of [
    [36, 0],
    [24, 5],
    [17, 1],
    [6, 3],
  ]) {
    const other = row.slice()
    other.fill(changed, cut)
    const logits = await logitsOf(model, other, 1)
    assertClose(logits.subarray(0, cut * 11), whole.subarray(0, cut * 11), 1e-5)
    assertClose(await logitsOf(model, row.slice(0, cut), 1), whole.subarray(0, cut * 11))
  }
  // And what comes before is seen across levels: the first sample reaches the last.
  const other = row.slice()
  other[0] = (other[0] + 1) % 11
  const far = await logitsOf(model, other, 1)
  assert.ok(far.subarray(36 * 11).some((value, i) => value !== whole[36 * 11 + i]))
  model.dispose()
})

test('the U-Net has the shapes of SaShiMi without blocks on the way down', () => {
  const model = new AudioUNet({ dModel: 32, pool: [4, 4], blocks: 2 })
  const shapes = Object.fromEntries([...model.namedParameters()].map(([name, { shape }]) => [name, shape.join('x')]))
  assert.equal(shapes['d_layers.0.linear.weight'], '64x128')
  assert.equal(shapes['d_layers.1.linear.weight'], '128x256')
  assert.equal(shapes['up.0.linear.weight'], '256x128')
  assert.equal(shapes['up.1.linear.weight'], '128x64')
  assert.equal(shapes['c_layers.1.norm.weight'], '128')
  assert.equal(shapes['u_layers.0.0.norm.weight'], '64')
  assert.equal(shapes['u_layers.1.1.norm.weight'], '32')
  assert.equal(shapes['output.weight'], '256x32')
})
