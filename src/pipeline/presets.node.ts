// From what a user names as a model to its configuration: a preset's name, or a config.json.
import { MambakitError } from '../errors.js'
import { languageModels } from '../models/catalogue.js'
import { type MambaLMConfig, parseMambaConfig } from '../models/mamba-config.js'
import { readConfig } from './load.node.js'

/** The configuration that a preset's name or a config.json stands for. Throws a MambakitError that lists the presets. */
export async function languageModelConfig(name: string): Promise<MambaLMConfig> {
  const preset = languageModels[name]
  if (preset) return preset.config
  if (!name.endsWith('.json'))
    throw new MambakitError(
      `no model is called '${name}'; give a config.json, or one of ${Object.keys(languageModels).join(', ')}`,
    )
  return parseMambaConfig(await readConfig(name))
}
