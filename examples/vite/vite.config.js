// In development Vite would copy the library away from its .wasm files.
export default { base: './', optimizeDeps: { exclude: ['mambakit'] } }
