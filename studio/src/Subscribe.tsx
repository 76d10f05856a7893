// The box that subscribes an address to the digest, where a server behind the page can mail.
import { useSignal } from '@preact/signals'

export function Subscribe() {
  const said = useSignal('')
  const failed = useSignal(false)
  const busy = useSignal(false)
  const subscribe = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    const address = new FormData(form).get('address')
    busy.value = true
    said.value = ''
    try {
      const answer = await fetch('./subscribe', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ address }),
      })
      said.value = await answer.text()
      failed.value = !answer.ok
      if (answer.ok) form.reset()
    } catch {
      said.value = 'The server did not answer. Try again in a moment.'
      failed.value = true
    }
    busy.value = false
  }
  return (
    <form class="subscribe" onSubmit={subscribe}>
      <label>
        <span>New papers and results by mail</span>
        <input
          type="email"
          name="address"
          required
          maxLength={254}
          autocomplete="email"
          placeholder="you@example.org"
        />
      </label>
      <button type="submit" disabled={busy.value}>
        Subscribe
      </button>
      <p role="status" class={failed.value ? 'subscribe-answer failed' : 'subscribe-answer'}>
        {said.value}
      </p>
    </form>
  )
}
