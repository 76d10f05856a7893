// The model that a command works with: the argument that names it, its tokenizer, and what is shown while it is loaded.
import type { Command } from 'commander'
import type { Backend } from '../backend/types.js'
import type { LanguageModel } from '../pipeline/language-model.js'
import type { GlobalOptions } from './command.js'
import { useChosenDevice } from './device.js'
import { downloadDisplay } from './downloads.js'

/** What a model argument may be, for --help. */
export const modelForms =
  'a folder with config.json and weights (safetensors or PyTorch), a run folder, a file of weights, or a hub id (owner/name)'

export interface ModelOptions {
  readonly tokenizer?: string
  readonly map?: boolean
}

/** Adds the argument and the options that every command with a trained language model has. */
export function addModelArgument(command: Command): Command {
  return addModelOptions(command.argument('<model>', modelForms))
}

/** Adds the options alone. */
export function addModelOptions(command: Command): Command {
  return command
    .option(
      '--tokenizer <name>',
      'a folder with tokenizer.json, a file, a hub id, or bytes; default: the one of the model',
    )
    .option('--map', 'share the memory of the file: loads at once, writes some 15 % slower (native device)')
}

/** Opens the device and loads the model onto it. */
export async function loadChosenModel(
  path: string,
  globals: GlobalOptions,
  { tokenizer, map }: ModelOptions,
): Promise<{ model: LanguageModel; backend: Backend }> {
  const { loadModel } = await import('../pipeline/load.node.js')
  const backend = await useChosenDevice(globals)
  using display = downloadDisplay()
  const model = await loadModel(path, { backend, tokenizer, map, ...display })
  return { model, backend }
}
