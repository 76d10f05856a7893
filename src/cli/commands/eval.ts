// `mambakit eval MODEL`: measures a language model on text.
import { type CliCommand, integerOption } from '../command.js'
import { useChosenDevice } from '../device.js'
import { addModelArgument, loadChosenModel, type ModelOptions } from '../model.js'

interface EvalOptions extends ModelOptions {
  data: string[]
  field: string
  length: number
  batch: number
  tokens?: number
  json: boolean
}

export const evaluate: CliCommand = {
  name: 'eval',
  summary: 'measure a language model on text',
  examples: [
    ['mambakit eval runs/notes --data test.txt', 'bits per byte of a text'],
    ['mambakit eval runs/notes --data test/ --json', 'the same for programs'],
  ],
  configure(command, globals) {
    addModelArgument(command)
      .requiredOption('--data <path...>', 'files of the kind that the model was trained on; all of them are measured')
      .option('--field <name>', 'field of a JSON-lines record that holds its text', 'text')
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), 1024)
      .option('--batch <n>', 'windows a batch', integerOption('--batch', 1), 4)
      .option('--tokens <n>', 'tokens to measure on at most', integerOption('--tokens', 1))
      .option('--json', 'print JSON', false)
      .action(async (path: string, options: EvalOptions) => {
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
          const chosen = kind === 'bytes' ? (await loadChosenModel(path, globals(), options)).model : null
          const model = chosen?.model ?? (await loadSequenceModel(path, await useChosenDevice(globals())))
          const source = chosen ? await tokenize(text.train, chosen.tokenizer) : text.train
          const { length, batch, tokens: evaluationTokens } = options
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
      })
  },
}
