import { loadModel, useDevice } from 'mambakit'

await useDevice('wasm')
const lm = await loadModel(new URL('model/', location.href).href)
for await (const piece of lm.generate('The ', { maxTokens: 24, seed: 1 })) document.body.append(piece)
document.title = 'done'
