// Starts the page: shows what there is, then loads the entries.
import './fonts.css'
import './page.css'
import { render } from 'preact'
import { App } from './App.js'
import { load } from './data.js'
import { offerOffline } from './offline.js'

render(<App />, document.getElementById('app')!)
await load()
await offerOffline()
