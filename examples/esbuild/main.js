import { loadModel, useDevice } from 'mambakit'

// esbuild leaves the .wasm files to us: they are copied beside the bundle.
await useDevice('wasm', { wasmFiles: new URL('dist/wasm/', location.href).href })
const lm = await loadModel(new URL('model/', location.href).href)
for await (const piece of lm.generate('The ', { maxTokens: 24, seed: 1 })) document.body.append(piece)
document.title = 'done'
