// `mambakit train TASK` for any task: options of the trainer, and the run with its progress.
import { type Command, Option } from 'commander'
import { type GlobalOptions, integerOption, numberOption } from './command.js'
import { useChosenDevice } from './device.js'
import { catchInterrupt } from './interrupt.js'
import { progressBar } from './progress.js'
import type { CliTask } from './task.js'

/** Of `Trainer`; written out, so that asking for help loads no trainer. */
const precisions = ['f32', 'mixed']

/** A larger share of a run spent waiting for data is worth a line, once it is more than the seconds of the start. */
const mostWaiting = { share: 0.1, seconds: 10 }

/** Adds the options that every training has; the defaults of some are the task's. */
export function addTrainingOptions(
  command: Command,
  { learningRate, weightDecay, clipNorm }: CliTask['train']['defaults'],
) {
  return command
    .requiredOption('--out <folder>', 'where checkpoints and the log go')
    .option('--resume', 'continue the run in --out', false)
    .option('--steps <n>', 'steps in all', integerOption('--steps', 1), 1000)
    .option('--learning-rate <rate>', 'peak learning rate', numberOption('--learning-rate', 0), learningRate)
    .option('--schedule <kind>', 'cosine, wsd or constant', 'cosine')
    .option('--warmup <steps>', 'steps of linear warm-up; default: 10 % of the steps', integerOption('--warmup'))
    .option('--final-rate <factor>', 'last rate, as a factor of the peak', numberOption('--final-rate', 0, 1), 0.01)
    .option('--weight-decay <d>', 'of the weights that carry it', numberOption('--weight-decay', 0), weightDecay)
    .option('--clip-norm <norm>', 'largest gradient norm; 0 for none', numberOption('--clip-norm', 0), clipNorm)
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
    .option('--evaluate-every <steps>', 'measure on held-out data', integerOption('--evaluate-every', 1))
    .option('--checkpoint-every <steps>', 'default: 10 times a run', integerOption('--checkpoint-every', 1))
    .option('--seed <n>', 'of weights and batches', integerOption('--seed'), 0)
    .option('--json', 'print one JSON event a line', false)
}

/** Trains, shows progress, and says where the model is. */
export async function runTraining(
  task: CliTask,
  { json, ...options }: { json: boolean; out: string } & Record<string, unknown>,
  globals: GlobalOptions,
): Promise<void> {
  const backend = await useChosenDevice(globals)
  const run = await task.train.start({ ...options, backend }, backend)
  const bar = progressBar({ json })
  using interrupt = catchInterrupt('stopping after this step; the checkpoint will be saved (again to stop at once)')
  interrupt.signal.addEventListener('abort', () => run.stop())
  let steps = 0
  let unit = ''
  let waited = 0
  const began = performance.now()
  for await (const event of run) {
    if (event.type === 'start') {
      steps = event.steps
      unit = event.unit
      const [parameters, training, heldOut] = [event.parameters, event.training, event.heldOut].map((n) =>
        n.toLocaleString('en'),
      )
      bar.note(
        `${parameters} parameters, ${training} ${unit} to train on, ${heldOut} held out, on ${backend.description}`,
      )
      if (event.step > 0) bar.note(`continuing after step ${event.step} of ${steps}`)
    } else if (event.type === 'note') bar.note(event.message)
    else if (event.type === 'step') {
      waited += event.waited
      bar.update({ step: event.step, steps, loss: event.loss, unit, unitsPerSecond: event.unitsPerSecond })
      if (event.skipped)
        bar.note(`step ${event.step}: float16 overflowed at a loss scale of ${event.lossScale}; skipped`)
    } else if (event.type === 'evaluation') {
      const parts = Object.entries(event.measurements).map(([name, value]) => `${name} ${value.toFixed(4)}`)
      bar.note(`step ${event.step}: held out ${parts.join(', ')}${event.best ? ' (best so far)' : ''}`)
    }
  }
  bar.end()
  const share = (1000 * waited) / (performance.now() - began)
  if (share > mostWaiting.share && waited > mostWaiting.seconds)
    bar.note(`${(100 * share).toFixed(0)} % of the time went into waiting for ${unit}`)
  bar.note(`saved in ${options.out} (best/ and last/)`)
  if (interrupt.signal.aborted) process.exitCode = 130
}
