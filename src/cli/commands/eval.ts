// `mambakit eval MODEL`: measures a language model on text.
import { type CliCommand, integerOption } from '../command.js'
import { useChosenDevice } from '../device.js'

interface EvalOptions {
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
    command
      .argument('<model>', 'a run folder, a folder with config.json and model.safetensors, or a .safetensors file')
      .requiredOption('--data <path...>', 'text files, folders, or .jsonl files; all of it is measured')
      .option('--field <name>', 'field of a JSON-lines record that holds its text', 'text')
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), 1024)
      .option('--batch <n>', 'windows a batch', integerOption('--batch', 1), 4)
      .option('--tokens <n>', 'tokens to measure on at most', integerOption('--tokens', 1))
      .option('--json', 'print JSON', false)
      .action(async (path: string, options: EvalOptions) => {
        const [{ loadModel }, { openTextFiles }, { meanLoss }] = await Promise.all([
          import('../../pipeline/load.node.js'),
          import('../../data/text.node.js'),
          import('../../tasks/language-modeling.js'),
        ])
        const text = await openTextFiles(options.data, { field: options.field, heldOutFraction: 0 })
        try {
          const backend = await useChosenDevice(globals())
          const { model } = await loadModel(path, { backend })
          const { length, batch, tokens: evaluationTokens } = options
          const nats = await meanLoss(model, text.train, { length, batch, evaluationTokens })
          const tokens = Math.min(text.train.length - 1, evaluationTokens ?? Number.POSITIVE_INFINITY)
          const result = { tokens, lossNats: nats, bitsPerToken: nats / Math.LN2, perplexity: Math.exp(nats) }
          if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
          else
            process.stdout.write(
              `${result.bitsPerToken.toFixed(4)} bits per token (loss ${nats.toFixed(4)} nats, perplexity ${result.perplexity.toFixed(3)}) over ${tokens.toLocaleString('en')} tokens\n`,
            )
        } finally {
          await text.close()
        }
      })
  },
}
