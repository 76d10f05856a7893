// The names of a Mamba language model's tensors in the two official layouts: they differ in the embedding alone.
import type { MambaLMConfig } from '../models/mamba-config.js'
import { CheckpointError, type CheckpointReader } from './checkpoint.js'

const embeddings = {
  'state-spaces': 'backbone.embedding.weight',
  huggingface: 'backbone.embeddings.weight',
} as const satisfies Record<MambaLMConfig['layout'], string>

/** A tensor's name in `layout`, from its name in either. */
export function mambaName(name: string, layout: MambaLMConfig['layout']): string {
  return Object.values<string>(embeddings).includes(name) ? embeddings[layout] : name
}

/** A checkpoint under the names of `layout`. Throws CheckpointError where it holds the embedding under both. */
export function underMambaNames(reader: CheckpointReader, layout: MambaLMConfig['layout']): CheckpointReader {
  const stored = new Map([...reader.tensors.keys()].map((name) => [mambaName(name, layout), name]))
  if (stored.size < reader.tensors.size)
    throw new CheckpointError(reader.file, embeddings[layout], 'duplicate-name', 'stands twice, in both spellings')
  return {
    file: reader.file,
    tensors: new Map([...stored].map(([name, inFile]) => [name, reader.tensors.get(inFile)!])),
    read: (name) => reader.read(stored.get(name) ?? name),
    readInto: (name, offset, target) => reader.readInto(stored.get(name) ?? name, offset, target),
    locate: (name) => reader.locate(stored.get(name) ?? name),
    close: () => reader.close(),
  }
}
