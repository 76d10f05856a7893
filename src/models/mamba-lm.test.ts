// The laws of the Mamba language model, in outputs, states and gradients: a batch is its members, packed is unpacked, any
// split is the whole, a step is the forward.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import { openReference } from '../backend/reference/index.js'
import type { Backend } from '../backend/types.js'
import * as T from '../tensor/index.js'
import { languageModels } from './catalogue.js'
import { cloneState, Decoder } from './decoding.js'
import { ConfigError, type MambaLMConfig, mambaDefaults, parseMambaConfig, toOfficialConfig } from './mamba-config.js'
import { MambaLM, type MambaState } from './mamba-lm.js'
import { mostLikely, sampleToken, uniformDraw } from './sampling.js'

const config: MambaLMConfig = { ...mambaDefaults, dModel: 20, nLayer: 3, vocabSize: 40 }
const backends: [string, () => Backend, number][] = [
  ['reference', openReference, 1e-6],
  ['native', () => openNative({ threads: 2 }), 2e-5],
]

function randomIds(count: number, seed: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => (Math.imul(i + 1, 2654435761) + seed * 97) >>> 7).map(
    (x) => (x >>> 0) % 40,
  )
}

async function assertClose(got: T.Tensor, expected: T.Tensor, tolerance: number, what: string): Promise<void> {
  assert.deepEqual(got.shape, expected.shape, what)
  const [a, b] = [await got.data(), await expected.data()]
  const scale = Math.max(1e-3, ...Array.from(b, Math.abs))
  for (let i = 0; i < b.length; i++)
    if (!(Math.abs(a[i] - b[i]) <= tolerance * scale)) assert.fail(`${what}[${i}]: got ${a[i]}, expected ${b[i]}`)
}

/** Gradients of every parameter of sum(hidden^2) over several pieces. */
function gradientsOf(model: MambaLM, pieces: readonly T.Tensor[]): T.Tensor[] {
  const parameters = model.parameters().map(({ value }) => value)
  const loss = pieces.map((hidden) => T.sum(T.square(hidden))).reduce((a, b) => T.add(a, b))
  return T.grad(loss, parameters)
}

for (const [name, open, tolerance] of backends) {
  const setUp = () => {
    const backend = open()
    T.setDefaultBackend(backend)
    const model = new MambaLM(config).initialize({ seed: 5 })
    return { backend, model }
  }
  const ids = (values: Int32Array, batch = 1) => T.tensor(values, { shape: [batch, values.length / batch] })

  test(`${name}: a batch gives what its members give one by one, gradients summed`, async () => {
    const { backend, model } = setUp()
    const [a, b] = [randomIds(17, 1), randomIds(17, 2)]
    const both = model.hidden(ids(Int32Array.of(...a, ...b), 2)).hidden
    const single = [a, b].map((one) => model.hidden(ids(one)).hidden)
    await assertClose(both, T.concat(single, 0), tolerance, 'hidden')
    const whole = gradientsOf(model, [both])
    const parts = gradientsOf(model, single)
    for (const [i, g] of whole.entries()) await assertClose(g, parts[i], tolerance, `gradient ${i}`)
    await backend.close()
  })

  test(`${name}: packed sequences give what they give unpacked`, async () => {
    const { backend, model } = setUp()
    const [a, b] = [randomIds(9, 1), randomIds(14, 2)]
    const resets = T.tensor(
      Uint8Array.from({ length: 23 }, (_, i) => (i === 9 ? 1 : 0)),
      { shape: [1, 23] },
    )
    const packed = model.hidden(ids(Int32Array.of(...a, ...b)), { resets }).hidden
    const apart = [a, b].map((one) => model.hidden(ids(one)).hidden)
    await assertClose(packed, T.concat(apart, 1), tolerance, 'hidden')
    const whole = gradientsOf(model, [packed])
    const parts = gradientsOf(model, apart)
    for (const [i, g] of whole.entries()) await assertClose(g, parts[i], tolerance, `gradient ${i}`)
    await backend.close()
  })

  for (const cuts of [[7], [1, 2], [3, 16], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]])
    test(`${name}: cut at ${cuts.join(', ')} a sequence gives what the whole gives, through the state`, async () => {
      const { backend, model } = setUp()
      const tokens = randomIds(19, 3)
      const whole = model.hidden(ids(tokens), { finalState: 'return' })
      const pieces: T.Tensor[] = []
      let state: MambaState | null = null
      for (const [i, start] of [0, ...cuts].entries()) {
        const part = ids(tokens.slice(start, cuts[i] ?? tokens.length))
        const next = model.hidden(part, { state, finalState: 'return' })
        pieces.push(next.hidden)
        state = next.state
      }
      await assertClose(T.concat(pieces, 1), whole.hidden, tolerance, 'hidden')
      for (const [i, { conv, ssm }] of state!.entries()) {
        await assertClose(conv, whole.state![i].conv, tolerance, `conv state ${i}`)
        await assertClose(ssm, whole.state![i].ssm, tolerance, `ssm state ${i}`)
      }
      const expected = gradientsOf(model, [whole.hidden])
      const got = gradientsOf(model, pieces)
      for (const [i, g] of got.entries()) await assertClose(g, expected[i], 4 * tolerance, `gradient ${i}`)
      await backend.close()
    })

  test(`${name}: greedy decoding on the device takes the tokens that the logits say, one sequence or many`, async () => {
    const { backend, model } = setUp()
    for (const batch of [1, 3, 9]) {
      const prompts = Array.from({ length: batch }, (_, i) => randomIds(4 + i, 20 + i))
      const expected: Int32Array[] = []
      const byHost = new Decoder(model, batch)
      let logits = await byHost.prefill(prompts)
      const choose = () => {
        const row = (b: number) => logits.subarray(b * config.vocabSize, (b + 1) * config.vocabSize)
        return Int32Array.from({ length: batch }, (_, b) => mostLikely(row(b)))
      }
      const first = choose()
      for (let i = 0, tokens = first; i < 11; i++) {
        logits = await byHost.step(tokens)
        expected.push((tokens = choose()))
      }
      const byDevice = new Decoder(model, batch)
      await byDevice.prefill(prompts)
      const got: Int32Array[] = []
      for await (const ids of byDevice.chosen(first, 11)) got.push(ids)
      assert.deepEqual(got, expected)
      byHost.dispose()
      byDevice.dispose()
    }
    await backend.close()
  })

  test(`${name}: sampled decoding on the device takes the tokens that are drawn from the logits on the host`, async () => {
    const { backend, model } = setUp()
    for (const options of [
      { temperature: 1, topK: 0, topP: 1, minP: 0 },
      { temperature: 0.8, topK: 9, topP: 0.9, minP: 0.05 },
    ]) {
      const sampling = { ...options, uniform: (i: number) => uniformDraw(6, i) }
      const byHost = new Decoder(model, 2)
      const expected: Int32Array[] = []
      const first = Int32Array.of(3, 5)
      for (let i = 0, tokens = first; i < 11; i++) {
        const logits = await byHost.step(tokens)
        const row = (b: number) => logits.subarray(b * config.vocabSize, b * config.vocabSize + 30)
        tokens = Int32Array.from([0, 1], (b) => sampleToken(row(b), { ...options, seed: 6 }, i))
        expected.push(tokens)
      }
      const byDevice = new Decoder(model, 2)
      const got: Int32Array[] = []
      for await (const ids of byDevice.chosen(first, 11, { vocabSize: 30, sampling })) got.push(ids)
      assert.deepEqual(got, expected)
      byHost.dispose()
      byDevice.dispose()
    }
    await backend.close()
  })

  test(`${name}: decoding by captured steps gives the logits of the forward`, async () => {
    const { backend, model } = setUp()
    const tokens = randomIds(15, 4)
    const expected = await T.noGrad(() => model.logits(model.hidden(ids(tokens)).hidden)).data()
    const decoder = new Decoder(model)
    let logits = await decoder.prefill(tokens.slice(0, 6))
    for (let t = 5; t < 15; t++) {
      if (t > 5) logits = await decoder.step(tokens.slice(t, t + 1))
      for (let v = 0; v < 40; v++)
        assert.ok(Math.abs(logits[v] - expected[t * 40 + v]) <= tolerance * 4, `token ${t}, logit ${v}`)
    }
    decoder.dispose()
    await backend.close()
  })

  test(`${name}: a continued state gives bit-equal results to the same pieces uninterrupted, and is left as it was`, async () => {
    const { backend, model } = setUp()
    const first = new Decoder(model)
    await first.prefill(randomIds(11, 5))
    const kept = cloneState(first.state)
    const a = await first.step(Int32Array.of(3))
    const second = new Decoder(model, 1, cloneState(kept))
    const third = new Decoder(model, 1, kept)
    assert.deepEqual(await second.step(Int32Array.of(3)), a)
    assert.deepEqual(await third.step(Int32Array.of(3)), a)
    for (const decoder of [first, second, third]) decoder.dispose()
    await backend.close()
  })
}

test('every preset has its published number of parameters', () => {
  for (const [name, preset] of Object.entries(languageModels))
    assert.equal(new MambaLM(preset.config).parameterCount(), preset.parameters, name)
})

test('a configuration survives its official form, in both layouts', () => {
  const odd = {
    ...config,
    dtRank: 3,
    bias: true,
    convBias: false,
    dState: 8,
    dConv: 3,
    expand: 3,
    tieEmbeddings: false,
  }
  for (const layout of ['state-spaces', 'huggingface'] as const)
    assert.deepEqual(parseMambaConfig(toOfficialConfig({ ...odd, layout })), { ...odd, layout })
})

test('absurd configurations are refused by field', () => {
  const base = toOfficialConfig(config)
  for (const [field, value] of [
    ['d_model', 0],
    ['d_model', 'wide'],
    ['n_layer', 1e9],
    ['vocab_size', -4],
    ['rms_norm', 'yes'],
    ['ssm_cfg', { d_state: 1000 }],
    ['ssm_cfg', { layer: 'Mamba2' }],
    ['attn_layer_idx', [1]],
  ] as const)
    assert.throws(
      () => parseMambaConfig({ ...base, [field]: value }),
      (error: unknown) => error instanceof ConfigError && /expected/.test(error.message),
      `${field} = ${JSON.stringify(value)}`,
    )
  assert.throws(() => parseMambaConfig({ n_layer: 2 }), /d_model: expected/)
  assert.throws(() => parseMambaConfig({ model_type: 'llama' }), /model_type: expected 'mamba'/)
  assert.throws(() => parseMambaConfig([]), /expected a JSON object/)
})
