// `mambakit train TASK`: trains a model on the user's own data, with checkpoints that a killed run resumes from.
import { Command } from 'commander'
import type { LanguageModelingOptions } from '../../tasks/language-modeling.js'
import type { TrainerOptions } from '../../train/trainer.js'
import { type CliCommand, type GlobalOptions, integerOption, numberOption } from '../command.js'
import { useChosenDevice } from '../device.js'
import { catchInterrupt } from '../interrupt.js'
import { progressBar } from '../progress.js'

interface TrainOptions {
  data: string[]
  heldOut?: string[]
  field: string
  model: string
  out: string
  resume: boolean
  steps: number
  batch: number
  length: number
  lr: number
  schedule: NonNullable<TrainerOptions['schedule']>
  warmup?: number
  finalRate: number
  weightDecay: number
  clip: number
  accumulate: number
  average?: number
  evaluateEvery?: number
  checkpointEvery?: number
  evaluationTokens: number
  seed: number
  json: boolean
}

export const train: CliCommand = {
  name: 'train',
  summary: 'train a model on your own data',
  examples: [
    ['mambakit train lm --data notes/ --out runs/notes', 'a byte-level language model on a folder of text'],
    ['mambakit train lm --data book.txt --model mamba-tiny --steps 500 --out runs/book', 'a small one on one file'],
    ['mambakit train lm --data notes/ --out runs/notes --resume', 'go on after an interruption'],
  ],
  configure(command, globals) {
    const lm = new Command('lm').description('language model over bytes of text (text files, folders, JSON lines)')
    lm.requiredOption('--data <path...>', 'text files, folders, or .jsonl files')
      .option('--held-out <path...>', 'text to measure on; default: the last 10 % of the data')
      .option('--field <name>', 'field of a JSON-lines record that holds its text', 'text')
      .option('--model <name|config.json>', 'preset or configuration', 'mamba-small')
      .requiredOption('--out <folder>', 'where checkpoints and the log go')
      .option('--resume', 'continue the run in --out', false)
      .option('--steps <n>', 'steps in all', integerOption('--steps', 1), 1000)
      .option('--batch <n>', 'windows a batch', integerOption('--batch', 1), 8)
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), 256)
      .option('--lr <rate>', 'peak learning rate', numberOption('--lr', 0), 0.003)
      .option('--schedule <kind>', 'cosine, wsd or constant', 'cosine')
      .option('--warmup <steps>', 'steps of linear warm-up; default: 10 % of the steps', integerOption('--warmup'))
      .option('--final-rate <factor>', 'last rate, as a factor of the peak', numberOption('--final-rate', 0, 1), 0.01)
      .option('--weight-decay <d>', 'of the weights that carry it', numberOption('--weight-decay', 0), 0.1)
      .option('--clip <norm>', 'largest gradient norm; 0 for none', numberOption('--clip', 0), 1)
      .option('--accumulate <n>', 'batches a step', integerOption('--accumulate', 1), 1)
      .option(
        '--average <decay>',
        'keep and evaluate an exponential average of the weights',
        numberOption('--average', 0, 1),
      )
      .option('--evaluate-every <steps>', 'measure on held-out text', integerOption('--evaluate-every', 1))
      .option(
        '--checkpoint-every <steps>',
        'save a checkpoint; default: 10 times a run',
        integerOption('--checkpoint-every', 1),
      )
      .option(
        '--evaluation-tokens <n>',
        'held-out tokens to measure on',
        integerOption('--evaluation-tokens', 1),
        262144,
      )
      .option('--seed <n>', 'of weights and batches', integerOption('--seed'), 0)
      .option('--json', 'print one JSON event a line', false)
      .action((options: TrainOptions) => trainLanguageModel(options, globals()))
    command.addCommand(lm)
  },
}

async function trainLanguageModel(options: TrainOptions, globals: GlobalOptions): Promise<void> {
  const [{ openTextFiles }, { MambaLM }, { LanguageModeling }, { Trainer }, { RunFolder }, presets, config] =
    await Promise.all([
      import('../../data/text.node.js'),
      import('../../models/mamba-lm.js'),
      import('../../tasks/language-modeling.js'),
      import('../../train/trainer.js'),
      import('../../train/run-folder.node.js'),
      import('../../pipeline/presets.node.js'),
      import('../../models/mamba-config.js'),
    ])
  const { average: averageDecay, clip: clipNorm, accumulate: accumulation, lr: learningRate, warmup, ...rest } = options
  const modelConfig = await presets.languageModelConfig(options.model)
  const text = await openTextFiles(options.data, { heldOut: options.heldOut, field: options.field })
  try {
    const backend = await useChosenDevice(globals)
    const model = new MambaLM(modelConfig).initialize({ seed: options.seed, backend })
    const task: LanguageModelingOptions = {
      length: options.length,
      batch: options.batch,
      seed: options.seed,
      evaluationTokens: options.evaluationTokens,
    }
    const trainerOptions: TrainerOptions = {
      steps: options.steps,
      learningRate,
      schedule: options.schedule,
      warmup: warmup ?? Math.floor(options.steps / 10),
      finalRate: options.finalRate,
      betas: [0.9, 0.95],
      weightDecay: options.weightDecay,
      clipNorm,
      accumulation,
      averageDecay,
      evaluateEvery: rest.evaluateEvery,
      checkpointEvery: rest.checkpointEvery ?? Math.max(1, Math.floor(options.steps / 10)),
      seed: options.seed,
    }
    const { evaluateEvery: _, checkpointEvery: __, ...decisive } = trainerOptions
    const folder = await RunFolder.open(options.out, {
      config: { ...config.toOfficialConfig(modelConfig), tokenizer: 'bytes' },
      settings: { ...decisive, length: options.length, batch: options.batch, trainingTokens: text.train.length },
      resume: options.resume,
    })
    const trainer = new Trainer(new LanguageModeling(model, text, task), trainerOptions, folder)
    if (options.resume) await folder.resume(trainer as never)
    await report(trainer, options, model.parameterCount(), text)
  } finally {
    await text.close()
  }
}

async function report(
  trainer: import('../../train/trainer.js').Trainer<import('../../tasks/language-modeling.js').TokenBatch>,
  { steps, out, json }: TrainOptions,
  parameters: number,
  text: import('../../data/text.js').TextSplit,
): Promise<void> {
  const bar = progressBar({ json })
  using interrupt = catchInterrupt('stopping after this step; the checkpoint will be saved (again to stop at once)')
  interrupt.signal.addEventListener('abort', () => trainer.stop())
  bar.note(
    `${parameters.toLocaleString('en')} parameters, ${text.train.length.toLocaleString('en')} tokens to train on, ${text.heldOut.length.toLocaleString('en')} held out`,
  )
  if (trainer.step >= steps) bar.note(`the run in ${out} has done its ${steps} steps already`)
  for await (const event of trainer.run()) {
    if (event.type === 'step')
      bar.update({ step: event.step, steps, loss: event.loss, tokensPerSecond: event.unitsPerSecond })
    else if (event.type === 'evaluation') {
      const parts = Object.entries(event.measurements).map(([name, value]) => `${name} ${value.toFixed(4)}`)
      bar.note(`step ${event.step}: held out ${parts.join(', ')}${event.best ? ' (best so far)' : ''}`)
    }
  }
  bar.end()
  bar.note(`saved in ${out} (best/ and last/)`)
  if (interrupt.signal.aborted) process.exitCode = 130
}
