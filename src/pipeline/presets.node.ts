// From what a user names as a model to its configuration: a preset's name, a config.json, or a model.
import { stat } from 'node:fs/promises'
import { MambakitError } from '../errors.js'
import { languageModels } from '../models/catalogue.js'
import type { MambaLMConfig } from '../models/mamba-config.js'
import { configOf } from './load.js'
import { locateConfig, readConfig } from './load.node.js'

/** The configuration that a preset's name, a config.json, a model's folder or a hub id stands for. Throws a MambakitError that lists the presets. */
export async function languageModelConfig(name: string): Promise<MambaLMConfig> {
  const preset = languageModels[name]
  if (preset) return preset.config
  // A name without any mark of a path or hub id was meant for a preset.
  if (!/[/.]/.test(name) && !(await stat(name).catch(() => null)))
    throw new MambakitError(
      `no model is called '${name}'; give a config.json, a model's folder or hub id, or one of ${Object.keys(languageModels).join(', ')}`,
    )
  const file = await locateConfig(name)
  return configOf(await readConfig(file), file)
}
