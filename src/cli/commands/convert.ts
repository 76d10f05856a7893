// `mambakit convert MODEL --to FORMAT --out PATH`: the same weights in another format.
import { Option } from 'commander'
import type { CliCommand } from '../command.js'
import { useChosenDevice } from '../device.js'

interface ConvertOptions {
  to: 'gguf'
  dtype: 'f32' | 'q8_0'
  out: string
}

export const convert: CliCommand = {
  name: 'convert',
  summary: 'write a model in the format of another program',
  examples: [
    ['mambakit convert runs/notes --to gguf --out notes.gguf', 'for llama.cpp and what is built on it'],
    ['mambakit convert runs/notes --to gguf --dtype q8_0 --out notes-q8_0.gguf', 'a quarter of the size'],
  ],
  configure(command, globals) {
    command
      .argument('<model>', 'a run folder, a folder with config.json and weights, or a file of weights')
      .addOption(new Option('--to <format>', 'format to write').choices(['gguf']).makeOptionMandatory())
      .addOption(
        new Option('--dtype <dtype>', 'of the embedding and the large projections')
          .choices(['f32', 'q8_0'])
          .default('f32'),
      )
      .requiredOption('--out <path>', 'file to write')
      .action(async (path: string, { dtype, out }: ConvertOptions) => {
        const { convertToGguf } = await import('../../pipeline/gguf.node.js')
        const backend = await useChosenDevice(globals())
        const announce = (line: string) => process.stderr.write(`mambakit: ${line}\n`)
        const bytes = await convertToGguf(path, out, { dtype, backend, announce })
        process.stdout.write(`${out}: ${(bytes / 1e6).toFixed(2)} MB\n`)
      })
  },
}
