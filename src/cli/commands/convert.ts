// `mambakit convert MODEL --to FORMAT --out PATH`: the same weights in another format or layout.
import { Option } from 'commander'
import { type CliCommand, type GlobalOptions, UsageError } from '../command.js'
import { useChosenDevice } from '../device.js'
import { downloadDisplay, formatBytes } from '../downloads.js'
import { catchInterrupt } from '../interrupt.js'
import { modelForms } from '../model.js'

/** Layouts of config.json and safetensors, by their names on the command line. */
const layouts = { hf: 'huggingface', 'state-spaces': 'state-spaces' } as const

interface ConvertOptions {
  to: keyof typeof layouts | 'gguf'
  out: string
  dtype?: 'f32' | 'q8_0'
  tokenizer?: string
  shardSize?: number
  force: boolean
  json: boolean
}

export const convert: CliCommand = {
  name: 'convert',
  summary: 'write a model in the format of another program',
  examples: [
    ['mambakit convert state-spaces/mamba-130m --to hf --out mamba-130m-hf', 'a .bin as safetensors'],
    ['mambakit convert runs/notes --to hf --shard-size 2GB --out notes', 'for transformers, in files of 2 GB at most'],
    ['mambakit convert runs/notes --to gguf --out notes.gguf', 'for llama.cpp and what is built on it'],
    ['mambakit convert runs/notes --to gguf --dtype q8_0 --out notes-q8_0.gguf', 'a quarter of the size'],
  ],
  configure(command, globals) {
    command
      .argument('<model>', modelForms)
      .addOption(
        new Option('--to <format>', 'format to write; hf and state-spaces are folders of safetensors')
          .choices([...Object.keys(layouts), 'gguf'])
          .makeOptionMandatory(),
      )
      .requiredOption('--out <path>', 'folder (gguf: file) to write')
      .addOption(
        new Option('--dtype <dtype>', 'gguf: of the embedding and the large projections; default f32').choices([
          'f32',
          'q8_0',
        ]),
      )
      .option(
        '--tokenizer <name>',
        'a folder with tokenizer.json, a file, a hub id, or bytes; default: the one of the model',
      )
      .option('--shard-size <size>', 'in several files of this size at most (500MB, 2GB)', sizeOption('--shard-size'))
      .option('--force', 'replace a model that is in --out', false)
      .option('--json', 'print JSON', false)
      .action((path: string, options: ConvertOptions) =>
        options.to === 'gguf' ? toGguf(path, options, globals()) : toLayout(path, options),
      )
  },
}

async function toGguf(path: string, options: ConvertOptions, globals: GlobalOptions): Promise<void> {
  const { out, dtype = 'f32', tokenizer, shardSize, force, json } = options
  if (shardSize !== undefined) throw new UsageError('--shard-size: a GGUF is one file; leave it out')
  if (force) throw new UsageError('--force: a GGUF replaces the file that is there; leave it out')
  const { convertToGguf } = await import('../../pipeline/gguf.node.js')
  const backend = await useChosenDevice(globals)
  using display = downloadDisplay()
  const bytes = await convertToGguf(path, out, { dtype, tokenizer, backend, ...display })
  process.stdout.write(json ? `${JSON.stringify({ out, bytes })}\n` : `${out}: ${(bytes / 1e6).toFixed(2)} MB\n`)
}

async function toLayout(path: string, options: ConvertOptions): Promise<void> {
  const { to, out, dtype, tokenizer, shardSize, force, json } = options
  if (dtype !== undefined) throw new UsageError('--dtype: safetensors keep the dtypes there are; leave it out')
  const { convertModel } = await import('../../pipeline/save.node.js')
  using interrupt = catchInterrupt('stopped; nothing was written')
  using display = downloadDisplay()
  const { signal } = interrupt
  const layout = layouts[to as keyof typeof layouts]
  const saved = await convertModel(path, out, { layout, tokenizer, shardBytes: shardSize, force, signal, ...display })
  if (json) process.stdout.write(`${JSON.stringify({ out, ...saved })}\n`)
  else
    process.stdout.write(
      `${out}: ${saved.tensors} tensors, ${formatBytes(saved.bytes)}, layout ${saved.layout}\n  ${saved.files.join('\n  ')}\n`,
    )
}

const units: Readonly<Record<string, number>> = {
  '': 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 1024,
  mib: 2 ** 20,
  gib: 2 ** 30,
}

/** Parses an option's value as bytes: 2GB, 500 MB, 1GiB, or a plain number; for commander's option parsers. */
export function sizeOption(option: string): (text: string) => number {
  return (text) => {
    const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)?\s*$/i.exec(text) ?? []
    const bytes = Math.floor(Number(digits) * units[(unit ?? '').toLowerCase()])
    if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
    throw new UsageError(`${option}: expected a size as 500MB or 2GB, got '${text}'`)
  }
}
