// The command line of language modelling: `train lm`, and `eval` and `info` of language models.
import { Option } from 'commander'
import { integerOption } from '../command.js'
import { useChosenDevice } from '../device.js'
import { downloadDisplay } from '../downloads.js'
import { addModelOptions, loadChosenModel, type ModelOptions } from '../model.js'
import { formatBytes, formatTable } from '../table.js'
import type { CliTask, TaskAction } from '../task.js'

/** Of `openTokenFiles`; written out, so that asking for help loads nothing. */
const kinds = ['bytes', 'bases', 'mulaw']

const train: CliTask['train'] = {
  description: 'language model over bytes or tokens of text, bases of DNA or samples of sound',
  examples: [
    ['mambakit train lm --data notes/ --out runs/notes', 'a byte-level language model on a folder of text'],
    ['mambakit train lm --data book.txt --model mamba-tiny --steps 500 --out runs/book', 'a small one on one file'],
    ['mambakit train lm --data notes/ --out runs/notes --resume', 'go on after an interruption'],
    [
      'mambakit train lm --data notes/ --tokenizer EleutherAI/gpt-neox-20b --out runs/words',
      'over tokens of a tokenizer',
    ],
    ['mambakit train lm --data genome.fna --tokens bases --out runs/dna', 'DNA, one token a base'],
    ['mambakit train lm --data calls/ --tokens mulaw --model audio-unet --out runs/calls', 'raw sound of WAV files'],
  ],
  options: (command) =>
    command
      .requiredOption('--data <path...>', 'text files, folders, or .jsonl files; FASTA or WAV files for other tokens')
      .addOption(
        new Option('--tokens <kind>', 'bytes of text, bases of FASTA files, or mulaw: 8-bit samples of WAV files')
          .choices(kinds)
          .default('bytes'),
      )
      .option('--tokenizer <name>', 'tokens of text: a folder with tokenizer.json, a file or a hub id; default: bytes')
      .option('--held-out <path...>', 'text to measure on; default: the last 10 % of the data')
      .option('--field <name>', 'field of a JSON-lines record that holds its text', 'text')
      .option('--model <name|config.json>', 'preset or configuration', 'mamba-small')
      .option('--batch <n>', 'windows a batch', integerOption('--batch', 1), 8)
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), 256)
      .option(
        '--evaluation-tokens <n>',
        'held-out tokens to measure on',
        integerOption('--evaluation-tokens', 1),
        262144,
      ),
  defaults: { learningRate: 0.003, weightDecay: 0.1, clipNorm: 1 },
  async start(options) {
    const [{ train }, { loadTokenizer }] = await Promise.all([
      import('../../pipeline/train.node.js'),
      import('../../pipeline/load.node.js'),
    ])
    using display = downloadDisplay()
    const { tokenizer: name } = options
    const tokenizer = name === undefined ? undefined : await loadTokenizer(name as string, display)
    return train('lm', { ...options, tokenizer } as unknown as Parameters<typeof train<'lm'>>[1])
  },
}

interface EvaluateOptions extends ModelOptions {
  data: string[]
  field: string
  length: number
  batch?: number
  tokens?: number
  json: boolean
}

const evaluate: TaskAction<EvaluateOptions> = {
  options: (command) =>
    addModelOptions(command)
      .option('--field <name>', 'field of a JSON-lines record that holds its text', 'text')
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), 1024)
      .option('--batch <n>', 'computed at once; default: 4 windows, 64 images', integerOption('--batch', 1))
      .option('--tokens <n>', 'tokens to measure on at most', integerOption('--tokens', 1)),
  async run(path, options, globals) {
    const [{ loadSequenceModel, tokenKindOf }, { openTokenFiles }, { tokenize }, { meanLoss }] = await Promise.all([
      import('../../pipeline/sequence-models.node.js'),
      import('../../data/tokens.node.js'),
      import('../../data/tokenized.js'),
      import('../../tasks/language-modeling.js'),
    ])
    const kind = await tokenKindOf(path)
    const text = await openTokenFiles(kind, options.data, { field: options.field, heldOutFraction: 0 })
    try {
      // Bases and samples are tokens already; text becomes those of the model's own tokenizer.
      const chosen = kind === 'bytes' ? (await loadChosenModel(path, globals, options)).model : null
      const model = chosen?.model ?? (await loadSequenceModel(path, await useChosenDevice(globals)))
      const source = chosen ? await tokenize(text.train, chosen.tokenizer) : text.train
      const { length, batch = 4, tokens: evaluationTokens } = options
      const nats = await meanLoss(model, source, { length, batch, evaluationTokens })
      const tokens = Math.min(source.length - 1, evaluationTokens ?? Number.POSITIVE_INFINITY)
      // Of the text that was measured, by the bytes that a token has on average.
      const bitsPerByte = ((nats / Math.LN2) * source.length) / text.train.length
      const perByte = kind === 'bytes' ? `; ${bitsPerByte.toFixed(4)} bits per byte` : ''
      const result = {
        tokens,
        lossNats: nats,
        bitsPerToken: nats / Math.LN2,
        perplexity: Math.exp(nats),
        ...(kind === 'bytes' && { bitsPerByte }),
      }
      if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
      else
        process.stdout.write(
          `${result.bitsPerToken.toFixed(4)} bits per token (loss ${nats.toFixed(4)} nats, perplexity ${result.perplexity.toFixed(3)}${perByte}) over ${tokens.toLocaleString('en')} tokens\n`,
        )
    } finally {
      await text.close()
    }
  },
}

const info: TaskAction<{ batch: number; length: number; json: boolean }> = {
  options: (command) =>
    command
      .option('--batch <n>', 'sequences or images', integerOption('--batch', 1), 1)
      .option('--length <n>', 'tokens a sequence', integerOption('--length', 1), 1024),
  async run(name, options) {
    const { describeLanguageModel } = await import('../../pipeline/describe.node.js')
    const facts = await describeLanguageModel(name, options)
    if (options.json) {
      process.stdout.write(`${JSON.stringify(facts, null, 2)}\n`)
      return
    }
    const rows = [
      ['model', facts.model],
      ['parameters', facts.parameters.toLocaleString('en')],
      ['input', `${options.batch} x ${options.length} tokens`],
      [
        'operations, forward',
        `${(facts.flops / 1e9).toFixed(3)} GFLOP (${(facts.flopsPerToken / 1e9).toFixed(3)} a token)`,
      ],
      ['state updates, forward', facts.stateUpdates.toLocaleString('en')],
      ['state of a sequence', `${facts.stateSize.toLocaleString('en')} numbers, ${formatBytes(facts.stateBytes)}`],
      ['weights, float32', formatBytes(facts.weightBytes)],
      ['memory, inference', formatBytes(facts.inferenceBytes)],
      ['memory, training', `${formatBytes(facts.trainingBytes)} (AdamW)`],
    ]
    process.stdout.write(`${formatTable([{ title: name }, { title: '' }], rows).join('\n')}\n`)
  },
}

export const languageModeling: CliTask = {
  name: 'lm',
  train,
  names: async () => Object.keys((await import('../../models/catalogue.js')).languageModels),
  // Configurations of language models come from many places: it has what no other task knows.
  owns: () => false,
  evaluate,
  info,
}
