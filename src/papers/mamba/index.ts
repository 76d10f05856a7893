// Mamba: Linear-Time Sequence Modeling with Selective State Spaces (arXiv 2312.00752). The mixer is src/ssm/mamba.ts, the
// language model src/models/mamba-lm.ts, since later papers share them.
export { languageModels } from '../../models/catalogue.js'
export { type MambaLMConfig, mambaDefaults, parseMambaConfig } from '../../models/mamba-config.js'
export { type ForwardOptions, MambaLM, type MambaState } from '../../models/mamba-lm.js'
export { MambaMixer, type MambaMixerConfig, type MambaMixerState } from '../../ssm/mamba.js'
