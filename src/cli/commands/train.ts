// `mambakit train TASK`: trains a model on the user's own data, with checkpoints that a killed run resumes from.
import { Option } from 'commander'
import type { LanguageModelTraining } from '../../pipeline/train.node.js'
import { type CliCommand, type GlobalOptions, integerOption, numberOption } from '../command.js'
import { useChosenDevice } from '../device.js'
import { catchInterrupt } from '../interrupt.js'
import { progressBar } from '../progress.js'

/** Of `Trainer`; written out, so that asking for help loads no trainer. */
const precisions = ['f32', 'mixed']

/** Of `openTokenFiles`, likewise. */
const kinds = ['bytes', 'bases', 'mulaw']

const examples: CliCommand['examples'] = [
  ['mambakit train lm --data notes/ --out runs/notes', 'a byte-level language model on a folder of text'],
  ['mambakit train lm --data book.txt --model mamba-tiny --steps 500 --out runs/book', 'a small one on one file'],
  ['mambakit train lm --data notes/ --out runs/notes --resume', 'go on after an interruption'],
  ['mambakit train lm --data genome.fna --tokens bases --out runs/dna', 'DNA, one token a base'],
  ['mambakit train lm --data calls/ --tokens mulaw --model audio-unet --out runs/calls', 'raw sound of WAV files'],
]

export const train: CliCommand = {
  name: 'train',
  summary: 'train a model on your own data',
  examples,
  configure(command, globals) {
    const help = examples.map(([line, effect]) => `  ${line}\n      ${effect}`).join('\n')
    command
      .command('lm')
      .description('language model over bytes of text, bases of DNA or samples of sound')
      .requiredOption('--data <path...>', 'text files, folders, or .jsonl files; FASTA or WAV files for other tokens')
      .addOption(
        new Option('--tokens <kind>', 'bytes of text, bases of FASTA files, or mulaw: 8-bit samples of WAV files')
          .choices(kinds)
          .default('bytes'),
      )
      .option('--held-out <path...>', 'text to measure on; default: the last 10 % of the data')
      .option('--field <name>', 'field of a JSON-lines record that holds its text', 'text')
      .option('--model <name|config.json>', 'preset or configuration', 'mamba-small')
      .requiredOption('--out <folder>', 'where checkpoints and the log go')
      .option('--resume', 'continue the run in --out', false)
      .option('--steps <n>', 'steps in all', integerOption('--steps', 1), 1000)
      .option('--batch <n>', 'windows a batch', integerOption('--batch', 1), 8)
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), 256)
      .option('--learning-rate <rate>', 'peak learning rate', numberOption('--learning-rate', 0), 0.003)
      .option('--schedule <kind>', 'cosine, wsd or constant', 'cosine')
      .option('--warmup <steps>', 'steps of linear warm-up; default: 10 % of the steps', integerOption('--warmup'))
      .option('--final-rate <factor>', 'last rate, as a factor of the peak', numberOption('--final-rate', 0, 1), 0.01)
      .option('--weight-decay <d>', 'of the weights that carry it', numberOption('--weight-decay', 0), 0.1)
      .option('--clip-norm <norm>', 'largest gradient norm; 0 for none', numberOption('--clip-norm', 0), 1)
      .option('--accumulation <n>', 'batches a step', integerOption('--accumulation', 1), 1)
      .addOption(
        new Option('--precision <kind>', 'f32, or mixed: float16 with float32 weights and a scaled loss')
          .choices(precisions)
          .default('f32'),
      )
      .option(
        '--average-decay <d>',
        'keep and evaluate an exponential average of the weights',
        numberOption('--average-decay', 0, 1),
      )
      .option('--evaluate-every <steps>', 'measure on held-out text', integerOption('--evaluate-every', 1))
      .option('--checkpoint-every <steps>', 'default: 10 times a run', integerOption('--checkpoint-every', 1))
      .option(
        '--evaluation-tokens <n>',
        'held-out tokens to measure on',
        integerOption('--evaluation-tokens', 1),
        262144,
      )
      .option('--seed <n>', 'of weights and batches', integerOption('--seed'), 0)
      .option('--json', 'print one JSON event a line', false)
      .addHelpText('after', `\nExamples:\n${help}`)
      .action((options: LanguageModelTraining & { json: boolean }) => trainLanguageModel(options, globals()))
  },
}

async function trainLanguageModel(
  { json, ...options }: LanguageModelTraining & { json: boolean },
  globals: GlobalOptions,
): Promise<void> {
  const { train } = await import('../../pipeline/train.node.js')
  const backend = await useChosenDevice(globals)
  const run = train('lm', { ...options, backend })
  const bar = progressBar({ json })
  using interrupt = catchInterrupt('stopping after this step; the checkpoint will be saved (again to stop at once)')
  interrupt.signal.addEventListener('abort', () => run.stop())
  let steps = 0
  for await (const event of run) {
    if (event.type === 'start') {
      steps = event.steps
      const [parameters, training, heldOut] = [event.parameters, event.trainingTokens, event.heldOutTokens].map((n) =>
        n.toLocaleString('en'),
      )
      bar.note(
        `${parameters} parameters, ${training} tokens to train on, ${heldOut} held out, on ${backend.description}`,
      )
      if (event.step > 0) bar.note(`continuing after step ${event.step} of ${steps}`)
    } else if (event.type === 'step') {
      bar.update({ step: event.step, steps, loss: event.loss, tokensPerSecond: event.unitsPerSecond })
      if (event.skipped)
        bar.note(`step ${event.step}: float16 overflowed at a loss scale of ${event.lossScale}; skipped`)
    } else if (event.type === 'evaluation') {
      const parts = Object.entries(event.measurements).map(([name, value]) => `${name} ${value.toFixed(4)}`)
      bar.note(`step ${event.step}: held out ${parts.join(', ')}${event.best ? ' (best so far)' : ''}`)
    }
  }
  bar.end()
  bar.note(`saved in ${options.out} (best/ and last/)`)
  if (interrupt.signal.aborted) process.exitCode = 130
}
