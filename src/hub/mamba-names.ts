// The names of a Mamba language model's tensors in the two official layouts: they differ in the embedding alone.
import type { MambaLMConfig } from '../models/mamba-config.js'
import type { CheckpointReader } from './checkpoint.js'
import { renamed } from './renamed.js'

const embeddings = {
  'state-spaces': 'backbone.embedding.weight',
  huggingface: 'backbone.embeddings.weight',
} as const satisfies Record<MambaLMConfig['layout'], string>

/** A tensor's name in `layout`, from its name in either. */
export function mambaName(name: string, layout: MambaLMConfig['layout']): string {
  return Object.values<string>(embeddings).includes(name) ? embeddings[layout] : name
}

/** A checkpoint under the names of `layout`. Throws CheckpointError where it holds the embedding under both. */
export const underMambaNames = (reader: CheckpointReader, layout: MambaLMConfig['layout']): CheckpointReader =>
  renamed(reader, (name) => mambaName(name, layout))
