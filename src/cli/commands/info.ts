// `mambakit info NAME|CONFIG`: what a model is and what it costs, without loading or computing anything.
import { type CliCommand, integerOption } from '../command.js'
import { formatTable } from '../table.js'

export const info: CliCommand = {
  name: 'info',
  summary: 'parameters, operations and memory of a model, without loading it',
  examples: [
    ['mambakit info mamba-2.8b', 'a published size'],
    ['mambakit info path/config.json --length 2048 --json', 'a configuration of your own, for programs'],
  ],
  configure(command) {
    command
      .argument('<model>', 'a preset, a config.json, a folder with one, or a hub id')
      .option('--batch <n>', 'sequences', integerOption('--batch', 1), 1)
      .option('--length <n>', 'tokens a sequence', integerOption('--length', 1), 1024)
      .option('--json', 'print JSON', false)
      .action(async (name: string, options: { batch: number; length: number; json: boolean }) => {
        const { describeLanguageModel } = await import('../../pipeline/describe.node.js')
        const facts = await describeLanguageModel(name, options)
        if (options.json) {
          process.stdout.write(`${JSON.stringify(facts, null, 2)}\n`)
          return
        }
        const bytes = (n: number) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : `${(n / 1e6).toFixed(2)} MB`)
        const rows = [
          ['model', facts.model],
          ['parameters', facts.parameters.toLocaleString('en')],
          ['input', `${options.batch} x ${options.length} tokens`],
          [
            'operations, forward',
            `${(facts.flops / 1e9).toFixed(3)} GFLOP (${(facts.flopsPerToken / 1e9).toFixed(3)} a token)`,
          ],
          ['state updates, forward', facts.stateUpdates.toLocaleString('en')],
          ['state of a sequence', `${facts.stateSize.toLocaleString('en')} numbers, ${bytes(facts.stateBytes)}`],
          ['weights, float32', bytes(facts.weightBytes)],
          ['memory, inference', bytes(facts.inferenceBytes)],
          ['memory, training', `${bytes(facts.trainingBytes)} (AdamW)`],
        ]
        process.stdout.write(`${formatTable([{ title: name }, { title: '' }], rows).join('\n')}\n`)
      })
  },
}
